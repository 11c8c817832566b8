//! SBOMs: enough named packages, enough of them identified, and about this image.
//!
//! An SBOM with nothing in it satisfies who only asks whether there is one, so a policy says how
//! many packages there must be at least and how many of them must be told apart (version and
//! package URL).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_ids::Digest;
use tidegate_schemas::{SbomFormat, SbomRequirement};

use super::{Accepted, cyclonedx, document, few, spdx};
use crate::inventory::Inventory;
use crate::proof::Proved;

/// `https://spdx.dev/Document`, as cosign writes it, and with a version, as in-toto does.
const SPDX: &str = "https://spdx.dev/Document";
/// `https://cyclonedx.org/bom`, and with a version.
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// What cosign wrote before.
const CYCLONEDX_BEFORE: &str = "https://cyclonedx.org/schema";

/// What an SBOM says.
pub(crate) struct Sbom {
    pub(crate) inventory: Inventory,
    /// The image that it says it is about, where it says so by digest.
    pub(crate) about: BTreeSet<Digest>,
}

/// The format that a predicate type stands for.
pub(crate) fn format(predicate_type: &str) -> Option<SbomFormat> {
    let is = |base: &str| {
        predicate_type == base
            || predicate_type.strip_prefix(base).is_some_and(|rest| rest.starts_with("/v"))
    };
    if is(SPDX) {
        Some(SbomFormat::Spdx)
    } else if is(CYCLONEDX) || predicate_type == CYCLONEDX_BEFORE {
        Some(SbomFormat::CycloneDX)
    } else {
        None
    }
}

/// Reads an SBOM.
pub(crate) fn read(format: SbomFormat, predicate: &Value) -> Result<Sbom, String> {
    let document = document(predicate)?;
    match format {
        SbomFormat::Spdx => spdx::read(&document),
        SbomFormat::CycloneDX => cyclonedx::read(&document),
    }
}

/// What an SBOM must have.
#[derive(Debug, Clone)]
pub(super) struct SbomRule {
    formats: BTreeSet<SbomFormat>,
    packages: usize,
    identified: usize,
}

impl SbomRule {
    pub(super) fn new(stated: &SbomRequirement) -> Self {
        let formats = if stated.formats.is_empty() {
            BTreeSet::from([SbomFormat::Spdx, SbomFormat::CycloneDX])
        } else {
            stated.formats.iter().copied().collect()
        };
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            formats,
            packages: count(stated.min_packages.max(1)),
            identified: count(stated.min_identified.min(100)),
        }
    }

    pub(super) fn is_about(&self, predicate_type: &str) -> bool {
        format(predicate_type).is_some_and(|format| self.formats.contains(&format))
    }

    pub(super) fn describe(&self) -> String {
        let formats: Vec<_> = self.formats.iter().map(|format| name(*format)).collect();
        let identified = match self.identified {
            0 => String::new(),
            percent => format!(", {percent}% of them identified"),
        };
        format!(
            "an SBOM ({}) of at least {}{identified}",
            formats.join(" or "),
            packages(self.packages)
        )
    }

    pub(super) fn judge(&self, statement: &Proved) -> Result<Accepted, Vec<String>> {
        let Some(format) = format(&statement.predicate_type) else {
            return Err(vec!["it is no SBOM".to_owned()]);
        };
        let sbom = read(format, &statement.predicate)
            .map_err(|why| vec![format!("its SBOM cannot be read: {why}")])?;
        let mut wrong = Vec::new();
        if !sbom.about.is_empty() && sbom.about.is_disjoint(&statement.subjects) {
            wrong.push(format!(
                "the SBOM says it describes {}, which the statement is not about; make one of \
                 this image",
                few(sbom.about.iter().map(ToString::to_string))
            ));
        }
        let (all, identified) = (sbom.inventory.packages.len(), sbom.inventory.identified());
        if all < self.packages {
            wrong.push(format!(
                "its SBOM names {}, and the policy asks for at least {}",
                packages(all),
                self.packages
            ));
        }
        // Rounded against whoever wrote it: 90% of 11 are 10.
        if identified * 100 < self.identified * all {
            wrong.push(format!(
                "{identified} of the {} in its SBOM have a version and a package URL, and the \
                 policy asks for {}%",
                packages(all),
                self.identified
            ));
        }
        let summary =
            format!("its SBOM ({}) names {}, {identified} identified", name(format), packages(all));
        if wrong.is_empty() { Ok(Accepted::of(summary)) } else { Err(wrong) }
    }
}

pub(super) fn canonical(stated: &SbomRequirement) -> Value {
    let formats: BTreeSet<_> = stated.formats.iter().collect();
    json!({"sbom": {
        "formats": formats,
        "minPackages": stated.min_packages,
        "minIdentified": stated.min_identified,
    }})
}

fn name(format: SbomFormat) -> &'static str {
    match format {
        SbomFormat::Spdx => "SPDX",
        SbomFormat::CycloneDX => "CycloneDX",
    }
}

fn packages(count: usize) -> String {
    if count == 1 { "1 package".to_owned() } else { format!("{count} packages") }
}
