//! SARIF 2.1.0, as scanners write it: severities are in the rules (`security-severity`, a CVSS
//! score). It names no packages, so that nothing is ever explained by it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_schemas::Severity;

use super::scan::Report;
use super::{list, text};
use crate::inventory::{Ecosystem, Finding};

pub(super) fn read(report: &Value) -> Result<Report, String> {
    if text(report, "/version") != Some("2.1.0") {
        return Err("it is no SARIF 2.1.0".to_owned());
    }
    let [run] = list(report, "/runs")? else {
        return Err("it is not of exactly one run".to_owned());
    };
    let tool = text(run, "/tool/driver/name").ok_or("it does not say who wrote it")?;
    // SARIF, 3.14.23: a run without results is one that did not scan.
    if !run.get("results").is_some_and(Value::is_array) {
        return Err("its run has no results".to_owned());
    }
    let mut rules = BTreeMap::new();
    for rule in list(run, "/tool/driver/rules")? {
        if let Some(id) = text(rule, "/id") {
            rules.insert(id, score(rule));
        }
    }
    let mut findings = BTreeSet::new();
    for result in list(run, "/results")? {
        let id = text(result, "/ruleId").ok_or("a result in it has no ruleId")?;
        findings.insert(Finding {
            id: id.to_owned(),
            package: None,
            purl: None,
            ecosystem: Ecosystem::Other,
            version: None,
            fixed: Vec::new(),
            severity: rules.get(id).copied().unwrap_or(Severity::Critical),
        });
    }
    let version = text(run, "/tool/driver/version").map(str::to_owned);
    Ok(Report { tool: tool.to_owned(), version, database: None, findings })
}

/// By CVSS 3.1, table 14.
fn score(rule: &Value) -> Severity {
    let stated = rule.pointer("/properties/security-severity");
    let score = stated.and_then(|one| match one {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    match score {
        Some(score) if (0.1..4.0).contains(&score) => Severity::Low,
        Some(score) if (4.0..7.0).contains(&score) => Severity::Medium,
        Some(score) if (7.0..9.0).contains(&score) => Severity::High,
        Some(0.0) => Severity::None,
        _ => Severity::Critical,
    }
}
