//! The vulnerabilities gate: every image was scanned lately, and nothing was found that is worse than
//! is accepted.
//!
//! It looks at the newest scan that counted in each image's verdict, at the moment of admission: a
//! scan ages without anything else happening, so the gate closes by itself. An image without a scan
//! closes it; one that runs by a policy's `static` list cannot have one that counts, and is left to
//! the two people and the expiry of its exception, which is said. A rollback to known good content
//! is not asked how old its scans are: it ran here, and must work in the worst hour.

use jiff::{SignedDuration, Timestamp};
use tidegate_schemas::{GateName, GateReport, Kind, ScanGate, ScanRecord, Severity};

use crate::{Facts, ImageFact, Policy, open, waiting};

/// How far the scanner's clock may be ahead.
const SKEW: SignedDuration = SignedDuration::from_secs(300);

/// The report, where the lane has this gate.
pub(crate) fn report(facts: &Facts, policy: &Policy, now: Timestamp) -> Option<GateReport> {
    let gate = policy.vulnerabilities.as_ref()?;
    let name = GateName::Vulnerabilities;
    let (excepted, asked): (Vec<_>, Vec<_>) =
        facts.images.iter().partition(|image| image.verdict.exception.is_some());
    let shortcomings = asked.iter().filter_map(|image| shortcoming(facts, image, gate, now));
    let shortcomings: Vec<_> = shortcomings.collect();
    if !shortcomings.is_empty() {
        return Some(waiting(name, shortcomings.join("; ")));
    }
    let mut said = match asked.as_slice() {
        [] if excepted.is_empty() => "it runs no images".to_owned(),
        [] => "it runs no images but exceptions".to_owned(),
        _ if known_good(facts) => format!(
            "nothing above {:?} is known of content that ran here before",
            gate.max_severity
        ),
        _ => format!(
            "every image has a scan younger than {} with nothing above {:?}",
            gate.max_age, gate.max_severity
        ),
    };
    if !excepted.is_empty() {
        let names: Vec<_> = excepted.iter().map(|image| image.image.as_str()).collect();
        said.push_str("; not asked of what runs by an exception: ");
        said.push_str(&names.join(", "));
    }
    Some(open(name, said))
}

/// When scans become too old, or are no longer of the future.
pub(crate) fn changes(
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    let age = policy.vulnerabilities.as_ref().filter(|_| !known_good(facts));
    let age = age.map(|gate| gate.max_age.to_signed());
    let scans = facts.images.iter().filter(|image| image.verdict.exception.is_none());
    let times = scans.filter_map(|image| image.verdict.scan.as_ref()).map(|scan| scan.at);
    let times: Vec<_> = times.collect();
    let ends = times.into_iter().flat_map(move |at| {
        let ends = age.map(|age| [at.checked_add(age), at.checked_sub(SKEW)]);
        ends.into_iter().flatten().flatten()
    });
    ends.filter(move |end| *end > now)
}

fn known_good(facts: &Facts) -> bool {
    facts.promotion.kind == Kind::Rollback && facts.known_good
}

/// Why an image closes the gate.
fn shortcoming(
    facts: &Facts,
    image: &ImageFact,
    gate: &ScanGate,
    now: Timestamp,
) -> Option<String> {
    let name = &image.image;
    let Some(scan) = &image.verdict.scan else {
        return (!known_good(facts)).then(|| {
            format!(
                "no scan of {name} counts; it opens when one is attached by somebody whom a \
                 TrustPolicy names under attestations[].vulnerabilities"
            )
        });
    };
    if let Some(worse) = worse(scan, gate.max_severity) {
        return Some(format!(
            "the scan of {name} of {} by {} found {worse}; it opens when a newer scan finds nothing \
             above {:?}, or a release with fixed versions takes its place",
            scan.at, scan.scanner, gate.max_severity
        ));
    }
    if known_good(facts) {
        return None;
    }
    if scan.at.duration_since(now) > SKEW {
        return Some(format!(
            "the scan of {name} says that it ended at {}, which is still to come; set the scanner's \
             clock and scan again",
            scan.at
        ));
    }
    (now.duration_since(scan.at) >= gate.max_age.to_signed()).then(|| {
        format!(
            "the newest scan of {name} is of {}, and must be younger than {}; it opens when it is \
             scanned again",
            scan.at, gate.max_age
        )
    })
}

/// How many findings there are above what is accepted.
fn worse(scan: &ScanRecord, accepted: Severity) -> Option<String> {
    let above = scan.findings.iter().rev().filter(|(severity, n)| **severity > accepted && **n > 0);
    let above: Vec<_> = above.map(|(severity, n)| format!("{n} {severity:?}")).collect();
    (!above.is_empty()).then(|| above.join(", "))
}
