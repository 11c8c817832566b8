//! What is in an image, and what is known to be wrong with it, as statements say.
//!
//! For questions that decide nothing by themselves: where does this package run, which release
//! fixes that. Whether a statement may be believed was settled when its digest was counted in a
//! verdict; [`statement_of`] reads it again from its bytes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sigstore_verify::types::{Bundle, DsseEnvelope, SignatureContent, Statement};
use tidegate_ids::Digest;
use tidegate_schemas::{ScanRecord, Severity};

use crate::bundle::PAYLOAD_TYPE;
use crate::predicate::{Purl, read_sbom, read_scan};
use crate::shortcoming::printable;

/// The packages in an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Every package once.
    pub packages: BTreeSet<Package>,
}

/// A package in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name, as its package manager calls it.
    pub name: String,
    /// Its version, with the epoch where there is one.
    pub version: Option<String>,
    /// Its package URL.
    pub purl: Option<String>,
    /// Whose rules its version follows.
    pub ecosystem: Ecosystem,
}

/// Whose rules a version follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Debian and its descendants.
    Deb,
    /// RPM distributions.
    Rpm,
    /// Alpine, Wolfi.
    Apk,
    /// Node packages (semantic versions).
    Npm,
    /// Rust crates (semantic versions).
    Cargo,
    /// Go modules (semantic versions with `v`).
    Golang,
    /// Python packages (PEP 440).
    Pypi,
    /// Any other: versions are equal or not.
    Other,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// What scanned.
    pub scanner: Scanner,
    /// When it began, where it says so.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// What it found, each once.
    pub findings: BTreeSet<Finding>,
}

/// A scanner, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    /// Its URI, or its name where it states none.
    pub uri: String,
    /// Its version; empty where it states none.
    pub version: String,
    /// What it compared with, where it says so.
    pub database: Option<Database>,
}

/// A vulnerability database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its URI; empty where none is stated.
    pub uri: String,
    /// Its version, which tells one state of it from another.
    pub version: String,
}

/// A known vulnerability of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Such as `CVE-2024-3094`.
    pub id: String,
    /// The package's name; none where the report does not say.
    pub package: Option<String>,
    /// The package's URL, where the report says.
    pub purl: Option<String>,
    /// Whose rules its versions follow.
    pub ecosystem: Ecosystem,
    /// The version that is there.
    pub version: Option<String>,
    /// The versions that fix it, any one of them.
    pub fixed: Vec<String>,
    /// How bad it is; `Critical` where nobody says.
    pub severity: Severity,
}

/// What a statement of this type says about packages; `None` where it is no SBOM that can be read.
#[must_use]
pub fn inventory(predicate_type: &str, predicate: &Value) -> Option<Inventory> {
    read_sbom(predicate_type, predicate)
}

/// Whether statements of this type are scans, which [`scan`] reads.
#[must_use]
pub fn is_scan(predicate_type: &str) -> bool {
    crate::predicate::SCANS.contains(&predicate_type)
}

/// What a `vuln` statement says.
///
/// # Errors
/// Why it cannot be read, which is not the same as that nothing was found.
pub fn scan(predicate: &Value) -> Result<Scan, String> {
    read_scan(predicate)
}

/// The predicate type, subjects and predicate of a statement, from the bytes of a bundle or of a
/// DSSE envelope. Nothing is verified: ask it only about bytes whose digest a verdict counted.
#[must_use]
pub fn statement_of(bytes: &[u8]) -> Option<(String, Vec<Digest>, Value)> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(default)]
        payload: Option<serde::de::IgnoredAny>,
    }
    let envelope = match serde_json::from_slice::<Shape>(bytes).ok()?.payload {
        Some(_) => serde_json::from_slice::<DsseEnvelope>(bytes).ok()?,
        None => match Bundle::from_json(std::str::from_utf8(bytes).ok()?).ok()?.content {
            SignatureContent::DsseEnvelope(envelope) => envelope,
            _ => return None,
        },
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return None;
    }
    let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes()).ok()?;
    let subjects = statement.subject.iter().filter_map(|subject| subject.digest.sha256);
    let subjects = subjects.filter_map(|hash| format!("sha256:{}", hash.to_hex()).parse().ok());
    Some((statement.predicate_type, subjects.collect(), statement.predicate))
}

impl Inventory {
    /// How many packages have a version and a package URL.
    #[must_use]
    pub fn identified(&self) -> usize {
        self.packages.iter().filter(|one| one.version.is_some() && one.purl.is_some()).count()
    }
}

impl Package {
    /// A package by what an SBOM says of it. An epoch that only its URL states is put in front of
    /// its version.
    pub(crate) fn new(name: &str, version: Option<&str>, purl: Option<&str>) -> Self {
        let read = purl.and_then(Purl::read);
        let version = version.map(str::to_owned);
        let version = version.or_else(|| read.as_ref().and_then(|purl| purl.version.clone()));
        let epoch = read.as_ref().and_then(|purl| purl.qualifiers.get("epoch"));
        let version = version.map(|version| match epoch {
            Some(epoch) if epoch != "0" && !version.contains(':') => format!("{epoch}:{version}"),
            _ => version,
        });
        Self {
            name: name.to_owned(),
            version,
            ecosystem: read.as_ref().map_or(Ecosystem::Other, |purl| Ecosystem::of(&purl.type_)),
            purl: read.and(purl).map(str::to_owned),
        }
    }

    /// The package, whichever its version.
    #[must_use]
    pub fn key(&self) -> String {
        key(self.purl.as_deref(), &self.name)
    }
}

impl Finding {
    /// The package that it is in, whichever its version.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        Some(key(self.purl.as_deref(), self.package.as_deref()?))
    }
}

fn key(purl: Option<&str>, name: &str) -> String {
    purl.and_then(Purl::read).map_or_else(|| name.to_owned(), |purl| purl.package())
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", printable(&self.id), self.severity)?;
        if let Some(package) = &self.package {
            write!(f, " in {}", printable(package))?;
        }
        if let Some(version) = &self.version {
            write!(f, " {}", printable(version))?;
        }
        match self.fixed.as_slice() {
            [] => Ok(()),
            fixed => write!(f, ", fixed in {}", printable(&fixed.join(" or "))),
        }
    }
}

impl Ecosystem {
    /// By the type of a package URL.
    #[must_use]
    pub fn of(purl_type: &str) -> Self {
        match purl_type {
            "deb" => Self::Deb,
            "rpm" => Self::Rpm,
            "apk" => Self::Apk,
            "npm" => Self::Npm,
            "cargo" => Self::Cargo,
            "golang" => Self::Golang,
            "pypi" => Self::Pypi,
            _ => Self::Other,
        }
    }
}

impl Scan {
    /// How many findings there are of each severity.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Severity, u32> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            let count: &mut u32 = counts.entry(finding.severity).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    /// How bad the worst finding is, where there is one.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|one| one.severity).max()
    }

    /// The scan as a verdict records it.
    #[must_use]
    pub fn record(&self) -> ScanRecord {
        let scanner = printable(&self.scanner.uri);
        ScanRecord { at: self.finished, scanner, findings: self.counts() }
    }
}
