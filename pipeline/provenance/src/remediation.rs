//! The evidence that opens the fast road: what would run is what runs, less its vulnerabilities.
//!
//! A claim of urgency is the oldest way around a gate, so nothing is taken on trust: each part is
//! shown from signed statements about both images, and whoever is to be sped up is not the one who
//! scanned. A part that cannot be shown fails with its reason, and the change takes the normal
//! road. More findings, fewer packages or an unknown order of versions never open it.

mod version;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tidegate_schemas::Severity;

use crate::inventory::{Ecosystem, Finding, Inventory, Package, Scan};
use crate::shortcoming::printable;
use crate::{ImageRef, Person};
use version::compare;

/// How many packages or findings a reason names.
const NAMED: usize = 5;

/// What signed statements say of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEvidence {
    /// The image.
    pub image: ImageRef,
    /// The version that its tag says, such as `17.0.3`; it must move by a patch at most.
    pub version: Option<String>,
    /// The repository that its provenance says it was built from.
    pub source: Option<String>,
    /// The names of the images that it is built on, whichever their digests.
    pub bases: BTreeSet<String>,
    /// Its packages.
    pub inventory: Inventory,
    /// Its newest scan that counts.
    pub scan: Option<Scan>,
    /// Who signed that scan.
    pub scanned_by: Option<Person>,
    /// Who signed its provenance.
    pub built_by: Option<Person>,
}

/// The evidence is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedied {
    /// The findings that go, each with the package that explains it.
    pub findings: Vec<Fixed>,
}

/// A finding that goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed {
    /// The finding.
    pub finding: Finding,
    /// The version of the same package in the new image, at which it is fixed.
    pub by: String,
}

/// A part of the evidence that is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// Something else than images changes.
    OtherChanges,
    /// It is another image, not a newer one of the same name.
    OtherImage {
        /// What runs.
        running: String,
        /// What would run.
        new: String,
    },
    /// There is no scan of it.
    NoScan {
        /// The image.
        image: String,
    },
    /// The scans cannot be compared.
    OtherScanner {
        /// What differs, as a sentence.
        why: String,
    },
    /// Nothing at or above the severity goes, so that there is no reason to hurry.
    NothingFixed {
        /// The severity.
        threshold: Severity,
    },
    /// A finding goes, and no fixed version of its package explains it.
    Unexplained {
        /// The finding.
        finding: String,
        /// Why not.
        why: String,
    },
    /// Findings that were not there before.
    Appears {
        /// The findings.
        findings: Vec<String>,
    },
    /// Packages that are no longer there.
    Shrinks {
        /// The packages.
        packages: Vec<String>,
    },
    /// It comes from elsewhere, or that cannot be told.
    Lineage {
        /// What differs, as a sentence.
        why: String,
    },
    /// The version moves by more than a patch, or that cannot be told.
    Version {
        /// What differs, as a sentence.
        why: String,
    },
}

/// Whether a change is a remediation: `only_images` says that it changes image digests and nothing
/// else; findings at or above `threshold` are what it is for.
///
/// # Errors
/// Everything that is missing, each once, in a fixed order.
pub fn remediation(
    only_images: bool,
    running: &ImageEvidence,
    new: &ImageEvidence,
    threshold: Severity,
) -> Result<Remedied, Vec<Missing>> {
    let mut missing = BTreeSet::new();
    if !only_images {
        missing.insert(Missing::OtherChanges);
    }
    if running.image.repository != new.image.repository {
        missing.insert(Missing::OtherImage {
            running: running.image.to_string(),
            new: new.image.to_string(),
        });
    }
    missing.extend(lineage(running, new));
    missing.extend(moves(running, new));
    missing.extend(shrinks(&running.inventory, &new.inventory));
    let mut fixed = Vec::new();
    match (&running.scan, &new.scan) {
        (Some(before), Some(after)) => {
            missing.extend(incomparable(running, before, new, after));
            missing.extend(appears(before, after));
            let (explained, unexplained) = explained(before, after, &new.inventory, threshold);
            if explained.is_empty() && unexplained.is_empty() {
                missing.insert(Missing::NothingFixed { threshold });
            }
            missing.extend(unexplained);
            fixed = explained;
        }
        (before, after) => {
            for (scan, image) in [(before, running), (after, new)] {
                if scan.is_none() {
                    missing.insert(Missing::NoScan { image: image.image.to_string() });
                }
            }
        }
    }
    if missing.is_empty() {
        Ok(Remedied { findings: fixed })
    } else {
        Err(missing.into_iter().collect())
    }
}

fn lineage(running: &ImageEvidence, new: &ImageEvidence) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut differs = |why: String| missing.push(Missing::Lineage { why });
    match (&running.source, &new.source) {
        (Some(before), Some(after)) if before == after => {}
        (Some(before), Some(after)) => differs(format!(
            "it is built from {}, and what runs from {}",
            printable(after),
            printable(before)
        )),
        _ => differs("provenance does not say from which repository both are built".to_owned()),
    }
    let names =
        |names: &BTreeSet<String>| printable(&names.iter().cloned().collect::<Vec<_>>().join(", "));
    if running.bases.is_empty() || new.bases.is_empty() {
        differs("nothing says what both are built on".to_owned());
    } else if running.bases != new.bases {
        differs(format!(
            "it is built on {}, and what runs on {}",
            names(&new.bases),
            names(&running.bases)
        ));
    }
    missing
}

/// Whether the version moves by a patch at most: the first two numbers of both are the same, the
/// rest does not fall.
fn moves(running: &ImageEvidence, new: &ImageEvidence) -> Option<Missing> {
    let differs = |why: String| Some(Missing::Version { why });
    let (Some(before), Some(after)) = (&running.version, &new.version) else {
        return differs("no version is stated for both".to_owned());
    };
    if before == after {
        return None;
    }
    let plain = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    let (before, after) = (plain(before), plain(after));
    let line = |text: &str| text.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let three = |text: &str| text.split('.').count() >= 3;
    if !three(&before) || !three(&after) || line(&before) != line(&after) {
        return differs(format!(
            "it moves from {} to {}, which is more than a patch",
            printable(&before),
            printable(&after)
        ));
    }
    match compare(Ecosystem::Npm, &before, &after) {
        Some(Ordering::Less | Ordering::Equal) => None,
        Some(Ordering::Greater) => {
            differs(format!("it goes back from {} to {}", printable(&before), printable(&after)))
        }
        None => differs(format!(
            "whether {} follows {} is not known",
            printable(&after),
            printable(&before)
        )),
    }
}

fn shrinks(before: &Inventory, after: &Inventory) -> Option<Missing> {
    // An SBOM that names nothing shows nothing.
    if before.packages.is_empty() || after.packages.is_empty() {
        let packages = vec!["all: an SBOM is missing, or names none".to_owned()];
        return Some(Missing::Shrinks { packages });
    }
    let there: BTreeSet<_> = after.packages.iter().map(Package::key).collect();
    let gone: BTreeSet<_> =
        before.packages.iter().map(Package::key).filter(|key| !there.contains(key)).collect();
    (!gone.is_empty()).then(|| Missing::Shrinks { packages: few(gone) })
}

/// Why two scans cannot be compared.
fn incomparable(
    running: &ImageEvidence,
    before: &Scan,
    new: &ImageEvidence,
    after: &Scan,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut differs = |why: &str| missing.push(Missing::OtherScanner { why: why.to_owned() });
    match (&running.scanned_by, &new.scanned_by) {
        (Some(before), Some(after)) if before == after => {}
        _ => differs("both must be scanned by the same identity"),
    }
    for image in [running, new] {
        match (&image.scanned_by, &image.built_by) {
            (Some(scanned), Some(built)) if scanned != built => {}
            (None, _) => {}
            (_, None) => {
                differs("who built both is not known, so that the scanner may be the builder");
            }
            _ => differs("it was scanned by whoever built it; another identity must have scanned"),
        }
    }
    if before.scanner.uri != after.scanner.uri || before.scanner.version != after.scanner.version {
        differs("both must be scanned by the same scanner in the same version");
    }
    match (&before.scanner.database, &after.scanner.database) {
        (Some(before), Some(after)) if before == after => {}
        (Some(_), Some(_)) => {
            differs("both must be scanned with the same database; scan both again");
        }
        _ => differs("the scans do not say with which database"),
    }
    missing
}

/// A finding's place: which vulnerability of which package.
type Place = (String, Option<String>);

fn place(finding: &Finding) -> Place {
    (finding.id.clone(), finding.key())
}

/// Findings of the new image that the running one does not have; of any severity.
fn appears(before: &Scan, after: &Scan) -> Option<Missing> {
    let mut known: BTreeMap<Place, Severity> = BTreeMap::new();
    for finding in &before.findings {
        let worst = known.entry(place(finding)).or_insert(finding.severity);
        *worst = (*worst).max(finding.severity);
    }
    let new = after
        .findings
        .iter()
        .filter(|finding| known.get(&place(finding)).is_none_or(|worst| finding.severity > *worst));
    let new: BTreeSet<_> = new.map(ToString::to_string).collect();
    (!new.is_empty()).then(|| Missing::Appears { findings: few(new) })
}

/// The findings that go, by whether the new image's packages explain that they do.
fn explained(
    before: &Scan,
    after: &Scan,
    packages: &Inventory,
    threshold: Severity,
) -> (Vec<Fixed>, Vec<Missing>) {
    let left: BTreeSet<_> = after.findings.iter().map(place).collect();
    let mut versions: BTreeMap<String, Vec<&Package>> = BTreeMap::new();
    for package in &packages.packages {
        versions.entry(package.key()).or_default().push(package);
    }
    let (mut fixed, mut missing) = (Vec::new(), Vec::new());
    let gone = before.findings.iter().filter(|one| one.severity >= threshold);
    for finding in gone.filter(|one| !left.contains(&place(one))) {
        match explanation(finding, &versions) {
            Ok(by) => fixed.push(Fixed { finding: finding.clone(), by }),
            Err(why) => {
                missing.push(Missing::Unexplained { finding: finding.to_string(), why });
            }
        }
    }
    (fixed, missing)
}

/// The version that fixes a finding: every occurrence of the package must be fixed.
fn explanation(
    finding: &Finding,
    packages: &BTreeMap<String, Vec<&Package>>,
) -> Result<String, String> {
    let key = finding.key().ok_or("the scan does not say in which package it is")?;
    let found = packages.get(&key).ok_or_else(|| {
        format!("{} is not in the new image's SBOM by that name", printable(&key))
    })?;
    if finding.fixed.is_empty() {
        return Err("no version is known that fixes it".to_owned());
    }
    let mut by = BTreeSet::new();
    for package in found {
        let version = package.version.as_deref().unwrap_or_default();
        // A list of fixes is one for each line of versions: which line this is, is not said, so
        // the version must not be below any of them, or be exactly one of them.
        let exactly = finding.fixed.iter().any(|fix| fix == version);
        let orders: Vec<_> =
            finding.fixed.iter().map(|fix| compare(finding.ecosystem, version, fix)).collect();
        let fixed = |order: &Option<Ordering>| order.is_some_and(Ordering::is_ge);
        if exactly || orders.iter().all(fixed) {
            by.insert(version);
        } else {
            let wanted = printable(&finding.fixed.join(" or "));
            let there = printable(if version.is_empty() { "no version" } else { version });
            let is =
                if orders.iter().any(Option::is_none) { "is not known to be" } else { "is not" };
            return Err(format!("the new image has {there}, which {is} {wanted} or later"));
        }
    }
    Ok(by.into_iter().collect::<Vec<_>>().join(", "))
}

fn few(all: BTreeSet<String>) -> Vec<String> {
    let more = all.len().saturating_sub(NAMED);
    let mut named: Vec<_> = all.into_iter().take(NAMED).map(|one| printable(&one)).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChanges => {
                f.write_str("more than image digests changes; bring the rest on the normal road")
            }
            Self::OtherImage { running, new } => {
                write!(f, "{new} is another image than {running}, which runs")
            }
            Self::NoScan { image } => {
                write!(f, "no scan of {image} counts; have it scanned, and the scan attested")
            }
            Self::OtherScanner { why } => write!(f, "the scans cannot be compared: {why}"),
            Self::NothingFixed { threshold } => {
                write!(f, "no finding of {threshold:?} or worse goes, so that nothing is urgent")
            }
            Self::Unexplained { finding, why } => {
                write!(f, "nothing explains that {finding} goes: {why}")
            }
            Self::Appears { findings } => {
                write!(f, "what was not there before appears: {}", findings.join("; "))
            }
            Self::Shrinks { packages } => write!(
                f,
                "packages are no longer listed, so that their findings may only be out of sight: {}",
                packages.join(", ")
            ),
            Self::Lineage { why } => write!(f, "it is not the same line of images: {why}"),
            Self::Version { why } => write!(f, "it is not a patch: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
