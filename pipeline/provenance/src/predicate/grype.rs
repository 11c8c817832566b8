//! Grype's JSON report.

use std::collections::BTreeSet;

use serde_json::Value;

use super::scan::{Report, ecosystem, severity};
use super::trivy::versions;
use super::{list, text};
use crate::inventory::{Database, Finding};

pub(super) fn read(report: &Value) -> Result<Report, String> {
    let tool = text(report, "/descriptor/name").ok_or("it does not say who wrote it")?;
    // A report without this list is of something else: `matches: null` is how Go writes none.
    let matches = list(report, "/matches")?;
    if report.get("source").is_none() {
        return Err("it does not say what was scanned".to_owned());
    }
    let mut findings = BTreeSet::new();
    for one in matches {
        let id = text(one, "/vulnerability/id").ok_or("a match in it has no id")?;
        let purl = text(one, "/artifact/purl").map(str::to_owned);
        let fixed = list(one, "/vulnerability/fix/versions")?;
        let called = text(one, "/artifact/type").unwrap_or_default();
        findings.insert(Finding {
            id: id.to_owned(),
            package: text(one, "/artifact/name").map(str::to_owned),
            ecosystem: ecosystem(purl.as_deref(), called),
            purl,
            version: text(one, "/artifact/version").map(str::to_owned),
            fixed: versions(fixed.iter().filter_map(Value::as_str)),
            severity: severity(text(one, "/vulnerability/severity").unwrap_or_default()),
        });
    }
    // Up to version 0.87 the database is told in `db`, then in `db.status`.
    let state = ["/descriptor/db/checksum", "/descriptor/db/status/built", "/descriptor/db/built"];
    let state = state.iter().find_map(|pointer| text(report, pointer));
    Ok(Report {
        tool: tool.to_owned(),
        version: text(report, "/descriptor/version").map(str::to_owned),
        database: state.map(|version| Database { uri: String::new(), version: version.to_owned() }),
        findings,
    })
}
