//! Gates: facts, policy and time to a decision with reasons. Nothing else admits a change.
//!
//! The whole crate is one pure, total function, [`decide`]. Every gate answers
//! with a sentence that says what it looks at, what it found, and when or by
//! whom it can open. A fact that could not be learned closes its gate: errors are
//! closed gates, never open ones.
//!
//! [`AdmittedChange`] is the proof that every gate was open for one change
//! digest. It is made here only and never stored: after a crash, decide again.

mod after;
mod approvals;
mod facts;
mod people;
mod vulnerabilities;

pub use after::{earned, record};
pub use facts::{
    ApprovalFact, Authors, Earned, Facts, ImageFact, LaneFact, Policy, Presence, PromotionFact,
};
pub use people::People;

use jiff::Timestamp;
use tidegate_ids::Digest;
use tidegate_schemas::{CountedApproval, GateName, GateReport, GateState, Kind};

/// What the gates say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What follows.
    pub outcome: Outcome,
    /// Every gate, closed ones first.
    pub reports: Vec<GateReport>,
    /// Every approval that arrived, and whether it counts.
    pub approvals: Vec<CountedApproval>,
    /// When the answer may change by itself; before, only a new fact can change it.
    pub next_change: Option<Timestamp>,
    admitted: Option<AdmittedChange>,
}

impl Decision {
    /// The proof of admission, where every gate is open.
    #[must_use]
    pub const fn admitted(&self) -> Option<&AdmittedChange> {
        self.admitted.as_ref()
    }

    /// The closed gates in one sentence each, or that all are open.
    #[must_use]
    pub fn sentence(&self) -> String {
        let closed: Vec<_> = self
            .reports
            .iter()
            .filter(|r| r.state != GateState::Open)
            .map(|r| format!("{}: {}", r.gate, r.message))
            .collect();
        if closed.is_empty() { "every gate is open".to_owned() } else { closed.join("; ") }
    }
}

/// What the gates say in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every gate is open.
    Admitted,
    /// At least one gate is closed and may open.
    Waiting,
    /// A gate will not open for this change.
    Refused,
    /// A person said no.
    Rejected,
}

/// Proof that every gate was open for this change, at this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedChange {
    change: Digest,
    at: Timestamp,
}

impl AdmittedChange {
    /// The change digest that was admitted.
    #[must_use]
    pub const fn change(&self) -> Digest {
        self.change
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

/// How soon facts are gathered again that could not be learned.
const UNKNOWN_AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// Decides whether a change may go on.
///
/// A rollback to known good content passes without soak, required lanes and
/// approvals: it has to work in the worst hour. Provenance is asked of it all the same, and what its
/// images' newest scans say, however old they are.
#[must_use]
pub fn decide(facts: &Facts, policy: &Policy, people: &People, now: Timestamp) -> Decision {
    let mut reports = vec![provenance(facts), slot(facts), suspended(facts)];
    let mut approvals = Vec::new();
    let mut rejected = None;
    reports.extend(vulnerabilities::report(facts, policy, now));
    if facts.promotion.kind == Kind::Rollback && facts.known_good {
        rejected = approvals::rejection(facts, people, &mut approvals);
    } else {
        reports.push(quarantine(facts));
        reports.push(requires(facts));
        reports.extend(after::reports(facts, policy, now));
        let counted = approvals::count(facts, policy, people, now);
        rejected = rejected.or(counted.rejected);
        approvals = counted.approvals;
        reports.extend(counted.reports);
    }
    reports.sort_by(|a, b| (b.state, a.gate).cmp(&(a.state, b.gate)));
    let worst = reports.iter().map(|r| r.state).max().unwrap_or(GateState::Open);
    let outcome = match (rejected.is_some(), worst) {
        (true, _) => Outcome::Rejected,
        (_, GateState::Refused) => Outcome::Refused,
        (_, GateState::Waiting) => Outcome::Waiting,
        (_, GateState::Open) => Outcome::Admitted,
    };
    let unknown = facts.images.iter().any(|i| i.unknown.is_some())
        || matches!(facts.authors, Authors::Unknown(_));
    let again = unknown.then(|| now.checked_add(UNKNOWN_AGAIN).ok()).flatten();
    let opens = reports.iter().filter_map(|r| r.opens_at);
    // A verdict ends with a key, a scan or an exception, and then another one may follow.
    let ends = facts.images.iter().filter_map(|i| i.verdict.until);
    let scans = vulnerabilities::changes(facts, policy, now);
    let next_change = opens.chain(ends).filter(|at| *at > now).chain(again).chain(scans).min();
    let admitted = (outcome == Outcome::Admitted)
        .then_some(AdmittedChange { change: facts.promotion.change, at: now });
    Decision { outcome, reports, approvals, next_change, admitted }
}

fn report(gate: GateName, state: GateState, message: impl Into<String>) -> GateReport {
    GateReport { gate, state, message: message.into(), opens_at: None }
}

fn open(gate: GateName, message: impl Into<String>) -> GateReport {
    report(gate, GateState::Open, message)
}

fn waiting(gate: GateName, message: impl Into<String>) -> GateReport {
    report(gate, GateState::Waiting, message)
}

fn provenance(facts: &Facts) -> GateReport {
    let gate = GateName::Provenance;
    if let Some(unknown) = facts.images.iter().find_map(|i| i.unknown.as_ref().map(|why| (i, why)))
    {
        return waiting(
            gate,
            format!("{} could not be verified now: {}", unknown.0.image, unknown.1),
        );
    }
    let failed: Vec<_> = facts
        .images
        .iter()
        .filter(|i| !i.verdict.passed)
        .map(|i| format!("{} may not run: {}", i.image, i.verdict.reasons.join("; ")))
        .collect();
    match (failed.is_empty(), facts.images.len()) {
        (false, _) => report(gate, GateState::Refused, failed.join(". ")),
        (true, 0) => open(gate, "it runs no images"),
        (true, 1) => open(gate, "its image is verified"),
        (true, n) => open(gate, format!("all {n} images are verified")),
    }
}

fn slot(facts: &Facts) -> GateReport {
    match &facts.in_flight {
        Some(other) => waiting(
            GateName::Slot,
            format!(
                "promotion {other} of this lane comes first; this one follows when it has ended"
            ),
        ),
        None => open(GateName::Slot, "no other promotion of this lane is under way"),
    }
}

fn suspended(facts: &Facts) -> GateReport {
    let known_good = facts.promotion.kind == Kind::Rollback && facts.known_good;
    if facts.suspended && !known_good {
        return waiting(
            GateName::Suspended,
            "the pipeline or the environment is suspended; it opens when spec.suspend is false again",
        );
    }
    open(GateName::Suspended, "neither the pipeline nor the environment is suspended")
}

fn quarantine(facts: &Facts) -> GateReport {
    match facts.quarantined.first() {
        None => open(GateName::Quarantine, "this content regressed nowhere on its way"),
        Some(q) => report(
            GateName::Quarantine,
            GateState::Refused,
            format!(
                "this content regressed in {} (promotion {}): {}; a corrected release takes its place",
                q.environment, q.promotion, q.reason
            ),
        ),
    }
}

fn requires(facts: &Facts) -> GateReport {
    let missing: Vec<_> = facts
        .requires
        .iter()
        .filter(|r| !r.satisfied)
        .map(|r| {
            let runs = r.runs.as_deref().unwrap_or("nothing");
            format!(
                "lane {} must run {} or newer first and runs {runs}; it opens when that is applied",
                r.lane, r.release
            )
        })
        .collect();
    if missing.is_empty() {
        let text = if facts.requires.is_empty() {
            "it requires no other lane"
        } else {
            "the lanes that it requires are there"
        };
        return open(GateName::Requires, text);
    }
    waiting(GateName::Requires, missing.join("; "))
}

#[cfg(test)]
mod tests;
