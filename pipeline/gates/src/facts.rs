//! What the gates are told. Built only from `schemas` types, by the shell that
//! gathered it; a fact that could not be learned says so and closes its gate.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_ids::{Digest, EnvironmentName, LaneName};
use tidegate_schemas::{After, ApprovalRule, ApprovalSpec, Kind, Quarantine, ScanGate, Verdict};

/// Everything that is known about one promotion.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The promotion itself.
    pub promotion: PromotionFact,
    /// Every image that would run.
    pub images: Vec<ImageFact>,
    /// The promotion of the same lane that comes first, if any: one past admission, or a rollback.
    pub in_flight: Option<String>,
    /// Whether the pipeline or the environment is suspended.
    pub suspended: bool,
    /// Where this content regressed: here, or in an earlier environment.
    pub quarantined: Vec<Quarantine>,
    /// The lanes that this one requires.
    pub requires: Vec<LaneFact>,
    /// For each earlier environment that matters: how long this content was healthy there.
    pub earned: BTreeMap<EnvironmentName, Earned>,
    /// Every Approval that names this promotion.
    pub approvals: Vec<ApprovalFact>,
    /// Who wrote the change.
    pub authors: Authors,
    /// Whether this content completed a whole watch in this environment, recently enough to be rolled back to.
    pub known_good: bool,
}

/// The promotion that is decided on.
#[derive(Debug, Clone)]
pub struct PromotionFact {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its environment.
    pub environment: EnvironmentName,
    /// What kind of move.
    pub kind: Kind,
    /// The person who asked for it.
    pub requested_by: Option<String>,
    /// The change digest now.
    pub change: Digest,
}

/// An image that would run.
#[derive(Debug, Clone)]
pub struct ImageFact {
    /// `repository@digest`.
    pub image: String,
    /// What verification says under the policies in force now.
    pub verdict: Verdict,
    /// Why it could not be verified now, where it could not.
    pub unknown: Option<String>,
}

/// A lane that is required.
#[derive(Debug, Clone)]
pub struct LaneFact {
    /// Its name.
    pub lane: LaneName,
    /// The release that is required, or a newer one.
    pub release: String,
    /// The release that runs.
    pub runs: Option<String>,
    /// Whether what runs is what is required, or newer, or the same content.
    pub satisfied: bool,
}

/// Whether a release's content is in an earlier environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// The release has no content for it, and its lane never held anything.
    #[default]
    Unused,
    /// The release has no content for it, and its lane holds something, or did.
    LeftOut,
    /// The release has content for it, which has not arrived.
    Expected,
    /// The content arrived.
    Arrived,
}

/// How long this content was healthy in an environment.
#[derive(Debug, Clone, Default)]
pub struct Earned {
    /// Whether it is there.
    pub presence: Presence,
    /// The time it earned, by the tolerance of the gate that asks.
    pub healthy: SignedDuration,
    /// Whether it is healthy there now, so that the time goes on.
    pub counting: bool,
}

/// An Approval that names this promotion.
#[derive(Debug, Clone)]
pub struct ApprovalFact {
    /// The object's name.
    pub name: String,
    /// When the API server accepted it.
    pub created: Timestamp,
    /// What it says.
    pub spec: ApprovalSpec,
}

/// Who signed the source commits between what runs and what would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authors {
    /// These people (Roster names).
    Known(BTreeSet<String>),
    /// It cannot be told, because of this.
    Unknown(String),
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The environments where content must have been healthy first.
    pub after: BTreeMap<EnvironmentName, After>,
    /// Whether nobody stated them: it is the previous environment by default.
    pub after_by_default: bool,
    /// Who must approve.
    pub approvals: Vec<ApprovalRule>,
    /// What the images' newest scans must say.
    pub vulnerabilities: Option<ScanGate>,
}
