//! When a promotion that waits has become needless: something newer took its place, what it brings
//! is there, or what it answers has gone away.

use tidegate_ids::{CommitId, Digest};
use tidegate_schemas::{Kind, Phase};

use crate::Needless;

/// Another promotion of the same environment and lane that was created later.
#[derive(Debug, Clone)]
pub struct Later {
    /// Its name.
    pub name: String,
    /// What kind of move.
    pub kind: Kind,
    /// Where it stands.
    pub phase: Phase,
    /// The place of its release in the lane's order; none where the release is gone.
    pub sequence: Option<u64>,
}

/// The promotion that a rollback answers.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// Its commit.
    pub commit: Option<CommitId>,
}

/// A promotion that waits, and what it depends on.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// What kind of move.
    pub kind: Kind,
    /// The place of its release in the lane's order.
    pub sequence: Option<u64>,
    /// What it brings.
    pub brings: Option<Digest>,
    /// Whether another promotion is past admission: what the lane holds may be about to change.
    pub in_flight: bool,
    /// What the lane holds: content and commit.
    pub holds: Option<(Digest, &'a CommitId)>,
    /// Promotions that were created later.
    pub later: &'a [Later],
    /// The promotion that it answers, where it is an automatic rollback.
    pub answers: Option<Answered>,
}

/// Why it is needless, if it is.
#[must_use]
pub fn needless(candidate: &Candidate<'_>) -> Option<Needless> {
    if let Some(answered) = &candidate.answers {
        if answered.phase.is_final() && answered.phase != Phase::Regressed {
            return Some(Needless::NotRegressed(answered.name.clone()));
        }
        let still = candidate.holds.map(|(_, commit)| commit) == answered.commit.as_ref();
        if answered.phase.is_final() && !candidate.in_flight && !still {
            return Some(Needless::Undone(answered.name.clone()));
        }
    }
    let held = candidate.holds.map(|(content, _)| content);
    if candidate.brings.is_some() && held == candidate.brings && !candidate.in_flight {
        return Some(Needless::Held);
    }
    if candidate.kind == Kind::Rollback {
        return None;
    }
    let counts = |later: &&Later| {
        later.kind == Kind::Promote
            && later.sequence > candidate.sequence
            && !matches!(
                later.phase,
                Phase::Refused | Phase::Rejected | Phase::NotApplied | Phase::Superseded
            )
    };
    candidate.later.iter().find(counts).map(|later| Needless::Newer(later.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    fn forward(later: &[Later]) -> Candidate<'_> {
        Candidate {
            kind: Kind::Promote,
            sequence: Some(5),
            brings: Some(Digest::of(b"five")),
            in_flight: false,
            holds: None,
            later,
            answers: None,
        }
    }

    fn later(sequence: u64, phase: Phase) -> Later {
        Later { name: "p9".into(), kind: Kind::Promote, phase, sequence: Some(sequence) }
    }

    #[test]
    fn only_a_newer_release_takes_the_place_of_one_that_waits() {
        let cases = [
            (later(6, Phase::Waiting), true),
            (later(6, Phase::Succeeded), true),
            (later(4, Phase::Waiting), false),
            (later(6, Phase::Rejected), false),
            (Later { kind: Kind::Rollback, ..later(6, Phase::Waiting) }, false),
        ];
        for (other, expected) in cases {
            let found = needless(&forward(std::slice::from_ref(&other)));
            assert_eq!(found == Some(Needless::Newer("p9".into())), expected, "{other:?}");
        }
    }

    #[test]
    fn what_is_there_already_is_not_brought() {
        let (five, held) = (Digest::of(b"five"), commit("a"));
        let there = Candidate { holds: Some((five, &held)), ..forward(&[]) };
        assert_eq!(needless(&there), Some(Needless::Held));
        assert_eq!(needless(&Candidate { in_flight: true, ..there }), None);
    }

    #[test]
    fn a_rollback_undoes_only_what_regressed_and_still_runs() {
        let (bad, fixed) = (commit("b"), commit("f"));
        let content = Digest::of(b"whatever");
        let answers =
            |phase| Some(Answered { name: "p7".into(), phase, commit: Some(commit("b")) });
        let rollback = |phase, runs| Candidate {
            kind: Kind::Rollback,
            holds: Some((content, runs)),
            answers: answers(phase),
            ..forward(&[])
        };
        assert_eq!(needless(&rollback(Phase::Regressed, &bad)), None);
        assert_eq!(needless(&rollback(Phase::Watching, &bad)), None);
        let undone = Some(Needless::Undone("p7".into()));
        assert_eq!(needless(&rollback(Phase::Regressed, &fixed)), undone);
        let well = Some(Needless::NotRegressed("p7".into()));
        assert_eq!(needless(&rollback(Phase::Succeeded, &bad)), well);
    }
}
