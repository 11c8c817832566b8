//! Trivy's JSON report, schema version 2.

use std::collections::BTreeSet;

use serde_json::Value;

use super::scan::{Report, ecosystem, severity};
use super::{list, text};
use crate::inventory::Finding;

pub(super) fn read(report: &Value) -> Result<Report, String> {
    if report.get("SchemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err("it is no Trivy report of schema version 2".to_owned());
    }
    let results = list(report, "/Results")?;
    let mut looked = false;
    let mut findings = BTreeSet::new();
    for result in results {
        let vulnerabilities = list(result, "/Vulnerabilities")?;
        let class = text(result, "/Class").unwrap_or_default();
        looked |= matches!(class, "os-pkgs" | "lang-pkgs") || !vulnerabilities.is_empty();
        let called = text(result, "/Type").unwrap_or_default();
        for one in vulnerabilities {
            let id = text(one, "/VulnerabilityID").ok_or("a vulnerability in it has no id")?;
            let purl = text(one, "/PkgIdentifier/PURL").map(str::to_owned);
            let fixed = text(one, "/FixedVersion").unwrap_or_default();
            findings.insert(Finding {
                id: id.to_owned(),
                package: text(one, "/PkgName").map(str::to_owned),
                ecosystem: ecosystem(purl.as_deref(), called),
                purl,
                version: text(one, "/InstalledVersion").map(str::to_owned),
                fixed: versions(fixed.split(',')),
                severity: severity(text(one, "/Severity").unwrap_or_default()),
            });
        }
    }
    // Without packages Trivy writes no result at all, also where it was told to look for nothing.
    if !looked {
        return Err("it looked at no packages".to_owned());
    }
    Ok(Report { tool: "trivy".to_owned(), version: None, database: None, findings })
}

/// Versions as reports list them.
pub(super) fn versions<'a>(stated: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut versions: Vec<_> =
        stated.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    versions.sort();
    versions.dedup();
    versions
}
