//! One move of one release into one environment's lane, and its journal.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{CommitId, Digest, EnvironmentName, LaneName, PipelineName};

use crate::{Condition, Decision};

/// Brings a release's content into an environment's lane.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Promotion",
    namespaced,
    status = "PromotionStatus",
    derive = "PartialEq",
    shortname = "tgpromo",
    category = "tidegate",
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Lane", type_ = "string", json_path = ".spec.lane"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a Promotion is never edited: create another one"))]
#[x_kube(validation = ("self.kind != 'Rollback' || (has(self.reason) && self.reason != '')", "a rollback needs a reason"))]
pub struct PromotionSpec {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environment, on which the person holds the verb `promote` or `rollback`.
    pub environment: EnvironmentName,
    /// The lane.
    pub lane: LaneName,
    /// The Release to bring.
    #[schemars(length(min = 1, max = 253))]
    pub release: String,
    /// What kind of move.
    #[serde(default)]
    pub kind: Kind,
    /// The person who asks for it; nobody where Tidegate does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

/// What kind of move a promotion is.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
pub enum Kind {
    /// Forward, through the gates.
    #[default]
    Promote,
    /// Back to content that is known good there.
    Rollback,
}

/// Where a promotion stands.
#[derive(
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Hash,
)]
pub enum Phase {
    /// Gates are closed, or another promotion is under way.
    #[default]
    Waiting,
    /// Every gate was open; the commit is being made.
    Admitted,
    /// The commit is on the deploy branch.
    Committed,
    /// The cluster runs it and it is healthy.
    Applied,
    /// It is being watched.
    Watching,
    /// It completed its whole watch: known good.
    Succeeded,
    /// A gate refused it.
    Refused,
    /// A person rejected it.
    Rejected,
    /// A newer release took its place before it was admitted.
    Superseded,
    /// The cluster could not take it; the release is not blamed.
    NotApplied,
    /// Its workloads failed.
    Regressed,
}

impl Phase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::Refused
                | Self::Rejected
                | Self::Superseded
                | Self::NotApplied
                | Self::Regressed
        )
    }

    /// Whether it is past admission and not ended: at most one of a lane is.
    #[must_use]
    pub const fn in_flight(self) -> bool {
        matches!(self, Self::Admitted | Self::Committed | Self::Applied | Self::Watching)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// The journal: everything needed to go on after a kill at any moment.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// `Ready`: it succeeded.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// Where it stands, in one sentence.
    #[serde(default)]
    pub message: String,
    /// What people approve (`tidegate-change/v1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Digest>,
    /// What went into it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub change_parts: BTreeMap<String, Digest>,
    /// What it brings: the rendered manifests of its release for this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Digest>,
    /// What runs there now and would be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Held>,
    /// Every gate, as last decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateReport>,
    /// Every approval and rejection that arrived, and whether it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<CountedApproval>,
    /// What was decided when; at most 50, the first and the newest kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalEntry>,
    /// What the commit is made of, fixed at admission, so that a retry makes the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<PlannedCommit>,
    /// The commit on the deploy branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// When the cluster ran it in good health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Timestamp>,
    /// The watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchReport>,
    /// When this content was healthy here; the newest 20 intervals, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub healthy: Vec<Interval>,
    /// Whether this content completed its whole watch here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known_good: bool,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Content that an environment's lane holds.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The Release it came from.
    pub release: String,
    /// Its manifests.
    pub manifests: Digest,
    /// Its deploy commit.
    pub commit: CommitId,
}

/// The gates there are.
#[derive(
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
)]
#[serde(rename_all = "camelCase")]
pub enum GateName {
    /// Every image verified under the policies in force now.
    Provenance,
    /// The content did not regress here or in an earlier environment.
    Quarantine,
    /// The environment and its pipeline admit changes at all.
    Suspended,
    /// The lanes that this one requires.
    Requires,
    /// Healthy long enough in earlier environments.
    After,
    /// People.
    Approvals,
    /// Every image scanned lately, and nothing found that is worse than is accepted.
    Vulnerabilities,
    /// No other promotion of this lane is under way.
    Slot,
}

impl std::fmt::Display for GateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Provenance => "provenance",
            Self::Quarantine => "quarantine",
            Self::Suspended => "suspended",
            Self::Requires => "requires",
            Self::After => "after",
            Self::Approvals => "approvals",
            Self::Vulnerabilities => "vulnerabilities",
            Self::Slot => "slot",
        })
    }
}

/// Whether a gate lets a change through.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum GateState {
    /// It does.
    Open,
    /// Not yet.
    Waiting,
    /// It will not.
    Refused,
}

/// What one gate says.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// Which gate.
    pub gate: GateName,
    /// Whether it is open.
    pub state: GateState,
    /// What it looks at, what it found, and when or by whom it can open.
    pub message: String,
    /// When it will open by itself, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<Timestamp>,
}

/// An approval or rejection, and whether it counts.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CountedApproval {
    /// The Approval object.
    pub name: String,
    /// The user name.
    pub user: String,
    /// The person by the Roster, or the user name where the Roster has none.
    pub person: String,
    /// Yes or no.
    pub decision: Decision,
    /// Whether it counts.
    pub counts: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One line of the journal.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// The phase that began.
    pub phase: Phase,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub message: String,
}

/// What the commit is made of.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCommit {
    /// Its place in the branch's order.
    pub sequence: u64,
    /// What it builds on: the commit that the Sync last accepted; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CommitId>,
    /// The time it states.
    pub at: Timestamp,
    /// Until when it may first be applied.
    pub not_after: Timestamp,
}

/// A stretch of time.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// When it began.
    pub from: Timestamp,
    /// When it ended; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// The watch after a change.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WatchReport {
    /// When it ends.
    pub until: Timestamp,
    /// What it saw last, in one sentence.
    pub message: String,
}

/// What people approve, before it is hashed: RFC 8785 JSON under the tag `tidegate-change/v1`.
/// If any of it moves, earlier approvals no longer count.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The uid of the cluster's `kube-system` namespace.
    pub cluster: String,
    /// The namespace of the Promotion.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The lane.
    pub lane: LaneName,
    /// The Promotion's uid.
    pub promotion: String,
    /// What kind of move.
    pub kind: Kind,
    /// What would run.
    pub manifests: Digest,
    /// The manifests it replaces.
    pub replaces: Option<Digest>,
    /// The deploy commit it builds on.
    pub builds_on: Option<CommitId>,
    /// The images, `repository@digest`, sorted.
    pub images: Vec<String>,
    /// Target namespace and deployer account.
    pub target: (String, String),
    /// The gates, watch and deadline in force.
    pub policy: Digest,
    /// The trust policies that match the images.
    pub trust: Digest,
}

impl Change {
    /// The change digest, and the digest of each part by name.
    ///
    /// # Errors
    /// Never for values of this type; the signature follows the serializer's.
    pub fn digest(&self) -> Result<(Digest, BTreeMap<String, Digest>), serde_json::Error> {
        let whole = Digest::tagged("tidegate-change/v1", self)?;
        let mut parts = BTreeMap::new();
        if let serde_json::Value::Object(fields) = serde_json::to_value(self)? {
            for (name, value) in fields {
                let digest = Digest::tagged("tidegate-change-part/v1", &value)?;
                parts.insert(name, digest);
            }
        }
        Ok((whole, parts))
    }
}
