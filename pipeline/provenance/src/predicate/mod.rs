//! What proved statements say: does it satisfy what a policy asks of the image?
//!
//! Who made a statement was settled before; here its content is read. The known way to go wrong is
//! to take what one cannot read for something harmless, so whatever has an unknown shape is
//! refused with the reason: an unreadable scan is not a scan that found nothing, and provenance
//! of an unknown build type does not name its source. Nothing here reads a clock.

mod base;
mod custom;
mod cyclonedx;
mod grype;
mod parameters;
mod purl;
mod sarif;
mod sbom;
mod scan;
mod slsa;
mod source;
mod spdx;
mod trivy;
mod vulnerability;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_schemas::{AttestationRequirement, ScanRecord};

use crate::inventory::Inventory;
use crate::proof::Proved;
use crate::shortcoming::printable;
use crate::{Error, Subject};

pub(crate) use base::BaseRule;
pub(crate) use purl::Purl;
pub(crate) use scan::read as read_scan;
pub(crate) use slsa::is_provenance;
pub(crate) use vulnerability::TYPES as SCANS;

/// A statement that must be there, as a policy asks for it. Whose statements count is not its
/// business.
#[derive(Debug, Clone)]
pub(crate) struct AttestationRule {
    rule: Rule,
    canonical: Value,
}

#[derive(Debug, Clone)]
enum Rule {
    Slsa(slsa::SlsaRule),
    Sbom(sbom::SbomRule),
    Vulnerabilities(vulnerability::VulnerabilityRule),
    Custom(custom::CustomRule),
}

/// What a statement that satisfies a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// In one sentence.
    pub(crate) summary: String,
    /// When it no longer satisfies the rule.
    pub(crate) until: Option<Timestamp>,
    /// The scan, where it is one.
    pub(crate) scan: Option<ScanRecord>,
}

impl AttestationRule {
    /// Reads a requirement.
    ///
    /// # Errors
    /// When an expression cannot be compiled, or it asks for what nothing can satisfy.
    pub(crate) fn from_schema(stated: &AttestationRequirement) -> Result<Self, Error> {
        let (rule, canonical) =
            match (&stated.slsa, &stated.sbom, &stated.vulnerabilities, &stated.custom) {
                (Some(slsa), None, None, None) => {
                    (Rule::Slsa(slsa::SlsaRule::new(slsa)?), slsa::canonical(slsa))
                }
                (None, Some(sbom), None, None) => {
                    (Rule::Sbom(sbom::SbomRule::new(sbom)), sbom::canonical(sbom))
                }
                (None, None, Some(scan), None) => (
                    Rule::Vulnerabilities(vulnerability::VulnerabilityRule::new(scan)?),
                    json!({"vulnerabilities": scan}),
                ),
                (None, None, None, Some(custom)) => {
                    (Rule::Custom(custom::CustomRule::new(custom)?), json!({"custom": custom}))
                }
                _ => {
                    return Err(Error::Attestation {
                        field: "attestations[]".to_owned(),
                        why: "it names none or several of slsa, sbom, vulnerabilities and custom"
                            .to_owned(),
                    });
                }
            };
        Ok(Self { rule, canonical })
    }

    /// Whether it is about statements of this type.
    pub(crate) fn is_about(&self, predicate_type: &str) -> bool {
        match &self.rule {
            Rule::Slsa(_) => slsa::is_provenance(predicate_type),
            Rule::Sbom(rule) => rule.is_about(predicate_type),
            Rule::Vulnerabilities(_) => vulnerability::TYPES.contains(&predicate_type),
            Rule::Custom(rule) => rule.predicate_type() == predicate_type,
        }
    }

    /// What it asks for, such as `an SBOM (SPDX or CycloneDX) of at least 10 packages`.
    pub(crate) fn describe(&self) -> String {
        match &self.rule {
            Rule::Slsa(rule) => rule.describe(),
            Rule::Sbom(rule) => rule.describe(),
            Rule::Vulnerabilities(rule) => rule.describe(),
            Rule::Custom(rule) => rule.describe(),
        }
    }

    /// Whether a statement satisfies it, or everything that is wrong with it.
    ///
    /// # Errors
    /// The reasons, one sentence each.
    pub(crate) fn judge(
        &self,
        statement: &Proved,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Accepted, Vec<String>> {
        if !self.is_about(&statement.predicate_type) {
            return Err(vec![format!(
                "a statement of type {} is not {}",
                printable(&statement.predicate_type),
                self.describe()
            )]);
        }
        match &self.rule {
            Rule::Slsa(rule) => rule.judge(statement),
            Rule::Sbom(rule) => rule.judge(statement),
            Rule::Vulnerabilities(rule) => rule.judge(statement, now),
            Rule::Custom(rule) => rule.judge(statement, subject),
        }
    }

    /// Whether it is about vulnerability scans.
    pub(crate) fn is_scan(&self) -> bool {
        matches!(self.rule, Rule::Vulnerabilities(_))
    }

    /// When a scan ended that this rule listens to; nothing of other statements, of scans that
    /// cannot be read and of other scanners.
    pub(crate) fn scan_ended(&self, predicate: &Value) -> Option<Timestamp> {
        match &self.rule {
            Rule::Vulnerabilities(rule) => rule.scan_ended(predicate),
            _ => None,
        }
    }

    /// Its form under the policy digest; the order of lists does not matter.
    pub(crate) fn canonical(&self) -> &Value {
        &self.canonical
    }
}

impl Accepted {
    fn of(summary: String) -> Self {
        Self { summary, until: None, scan: None }
    }
}

/// The document that a predicate is. `cosign attest` puts some into an object with `Data` and
/// `Timestamp`, as text or as JSON (`CosignPredicate` of its predicate specification).
pub(crate) fn document(predicate: &Value) -> Result<Cow<'_, Value>, String> {
    let inner = match predicate {
        Value::Object(fields) if fields.keys().all(|key| key == "Data" || key == "Timestamp") => {
            fields.get("Data").ok_or_else(|| "it is an empty object".to_owned())?
        }
        other => other,
    };
    match inner {
        Value::Object(_) => Ok(Cow::Borrowed(inner)),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(document @ Value::Object(_)) => Ok(Cow::Owned(document)),
            Ok(_) => Err("it is text that is no JSON object".to_owned()),
            Err(error) => Err(format!("it is text that is no JSON: {error}")),
        },
        _ => Err("it is no JSON object".to_owned()),
    }
}

/// The packages that an SBOM names, where the predicate type is one's.
pub(crate) fn read_sbom(predicate_type: &str, predicate: &Value) -> Option<Inventory> {
    sbom::read(sbom::format(predicate_type)?, predicate).ok().map(|sbom| sbom.inventory)
}

/// A text at a JSON pointer; an empty one is none.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// The list at a JSON pointer; absent or null is none at all, anything else is no list.
fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value], String> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("its {} is no list", pointer.trim_start_matches('/'))),
    }
}

/// The first few names, and how many more there are: who writes a statement decides how many.
fn few(mut names: impl ExactSizeIterator<Item = String>) -> String {
    const NAMED: usize = 5;
    let mut first: Vec<_> = names.by_ref().take(NAMED).collect();
    if names.len() > 0 {
        first.push(format!("and {} more", names.len()));
    }
    first.join(", ")
}

#[cfg(test)]
mod tests;
