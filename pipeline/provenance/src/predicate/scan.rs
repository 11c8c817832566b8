//! cosign's vulnerability scan record (its `COSIGN_VULN_ATTESTATION_SPEC`): who scanned, when, with
//! which database, and the scanner's own report, in one of the forms that are known.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use tidegate_schemas::Severity;

use super::{Purl, document, grype, sarif, text, trivy};
use crate::inventory::{Database, Ecosystem, Finding, Scan, Scanner};
use crate::shortcoming::printable;

/// A scanner's own report.
pub(super) struct Report {
    /// The tool that wrote it.
    pub(super) tool: String,
    pub(super) version: Option<String>,
    pub(super) database: Option<Database>,
    pub(super) findings: BTreeSet<Finding>,
}

/// Reads a scan record.
pub(crate) fn read(predicate: &Value) -> Result<Scan, String> {
    let record = document(predicate)?;
    let scanner = match (record.pointer("/scanner"), record.pointer("/scanners")) {
        (Some(one), None) => one,
        // As the specification had it at first.
        (None, Some(Value::Array(several))) => match several.as_slice() {
            [one] => one,
            _ => return Err("it is not of exactly one scanner".to_owned()),
        },
        _ => return Err("it names no scanner".to_owned()),
    };
    let finished = time(&record, "/metadata/scanFinishedOn")?
        .ok_or("it does not say when the scan ended (metadata.scanFinishedOn)")?;
    let started = time(&record, "/metadata/scanStartedOn")?;
    if started.is_some_and(|started| started > finished) {
        return Err("it says that the scan ended before it began".to_owned());
    }
    let result = scanner.pointer("/result").ok_or("it has no result")?;
    let report = report(result)?;
    let database = text(scanner, "/db/version").map(|version| Database {
        uri: text(scanner, "/db/uri").unwrap_or_default().to_owned(),
        version: version.to_owned(),
    });
    Ok(Scan {
        scanner: Scanner {
            uri: text(scanner, "/uri").map_or(report.tool, str::to_owned),
            version: text(scanner, "/version")
                .map(str::to_owned)
                .or(report.version)
                .unwrap_or_default(),
            database: database.or(report.database),
        },
        started,
        finished,
        findings: report.findings,
    })
}

fn report(result: &Value) -> Result<Report, String> {
    let result = document(result).map_err(|why| format!("its result cannot be read: {why}"))?;
    let read = if result.get("SchemaVersion").is_some() {
        trivy::read(&result)
    } else if result.get("matches").is_some() {
        grype::read(&result)
    } else if result.get("runs").is_some() {
        sarif::read(&result)
    } else {
        return Err(
            "its result is of no known form (Trivy's, Grype's, SARIF), so that nothing is \
                    known of what was found"
                .to_owned(),
        );
    };
    read.map_err(|why| format!("its result cannot be read: {why}"))
}

fn time(record: &Value, pointer: &str) -> Result<Option<Timestamp>, String> {
    text(record, pointer)
        .map(|text| text.parse().map_err(|_| format!("{} is no time", printable(text))))
        .transpose()
}

/// A severity as scanners write it. What is unknown is taken for the worst.
pub(super) fn severity(text: &str) -> Severity {
    match text.to_ascii_lowercase().as_str() {
        "none" => Severity::None,
        "negligible" => Severity::Negligible,
        "low" => Severity::Low,
        "medium" | "moderate" => Severity::Medium,
        "high" | "important" => Severity::High,
        _ => Severity::Critical,
    }
}

/// Whose rules a package's versions follow: by its URL, otherwise by what the scanner calls it.
pub(super) fn ecosystem(purl: Option<&str>, called: &str) -> Ecosystem {
    if let Some(purl) = purl.and_then(Purl::read) {
        return Ecosystem::of(&purl.type_);
    }
    match called {
        "deb" | "debian" | "ubuntu" => Ecosystem::Deb,
        "rpm"
        | "redhat"
        | "centos"
        | "rocky"
        | "alma"
        | "fedora"
        | "amazon"
        | "oracle"
        | "photon"
        | "suse linux enterprise server"
        | "opensuse.leap"
        | "azurelinux"
        | "cbl-mariner" => Ecosystem::Rpm,
        "apk" | "alpine" | "wolfi" | "chainguard" => Ecosystem::Apk,
        "npm" | "node-pkg" | "yarn" | "pnpm" => Ecosystem::Npm,
        "cargo" | "rustbinary" | "rust-crate" => Ecosystem::Cargo,
        "gomod" | "gobinary" | "go-module" => Ecosystem::Golang,
        "python" | "python-pkg" | "pip" | "pipenv" | "poetry" | "uv" => Ecosystem::Pypi,
        _ => Ecosystem::Other,
    }
}
