//! The reconciler's kind: this path at this branch is what runs in this target.
//!
//! A Sync knows Git, manifests and clusters, and no pipelines: what a pipeline
//! demands of a commit reaches it as `spec.verify` and `spec.kinds`.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{AccountName, CommitId, ObjectId, Period};

use crate::{Condition, Drift, Target};

/// Makes a target equal to a path of a branch, and keeps it so.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Sync",
    namespaced,
    status = "SyncStatus",
    derive = "PartialEq",
    shortname = "tgsync",
    category = "tidegate",
    printcolumn(name = "Branch", type_ = "string", json_path = ".spec.source.branch"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health.state"),
    printcolumn(
        name = "Commit",
        type_ = "string",
        json_path = ".status.applied.commit",
        priority = 1
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.target.namespace != 'tidegate-system' && self.target.namespace != 'tidegate-deployers' && !self.target.namespace.startsWith('kube-')", "target.namespace must be none of Tidegate's or Kubernetes' own"))]
pub struct SyncSpec {
    /// What to run.
    pub source: SyncSource,
    /// How the files become objects.
    #[serde(default)]
    pub render: Render,
    /// Where it runs.
    pub target: Target,
    /// The deployer account, in the locked namespace `tidegate-deployers`, that everything is applied as.
    pub account: AccountName,
    /// What may be deleted when Git no longer has it.
    #[serde(default)]
    pub prune: Prune,
    /// What to do when somebody changes or deletes an object.
    #[serde(default)]
    pub drift: Drift,
    /// The only kinds that may be applied, such as `Deployment.apps`; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// What the branch's head must prove before it is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<HeadVerification>,
    /// How long objects may take to be applied and to become healthy.
    #[serde(default = "crate::default::five_minutes")]
    pub deadline: Period,
    /// Do nothing until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// A path of a branch of a repository.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..')", "path must be relative to the repository's root and must not contain '..'"))]
pub struct SyncSource {
    /// A Repository of this namespace, or `namespace/name` of one that allows this namespace.
    #[schemars(length(min = 1, max = 317))]
    pub repository: String,
    /// The branch.
    #[serde(default = "crate::default::main")]
    #[schemars(length(min = 1, max = 244))]
    pub branch: String,
    /// The folder, from the repository's root; empty for all of it.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
}

/// How files become objects.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Render {
    /// `kustomize` where the folder has a kustomization, else `plain`.
    #[default]
    Auto,
    /// Every YAML and JSON file below the folder.
    Plain,
    /// `kustomize build`.
    Kustomize,
}

/// What pruning may do.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Prune {
    /// Kinds whose deletion loses data and that may be pruned all the same, such as
    /// `Namespace`, `PersistentVolumeClaim` or `Cluster.postgresql.cnpg.io`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// What a head must prove: who signed it, and what its trailers say.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HeadVerification {
    /// The public keys, one of which must have signed the commit (OpenSSH form).
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// Trailers that the commit must carry with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trailers: BTreeMap<String, String>,
    /// The trailer whose number must rise with every commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// The trailer that says until when a commit may first be applied (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

/// What the Sync did and sees.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// `Ready`, `Reconciling`, `Stalled` (kstatus), and `Verified` where heads are verified.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last head that passed verification. Only what descends from it is accepted next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Revision>,
    /// What the target was last made equal to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The health of what was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthReport>,
    /// The head that was refused, while it is the branch's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedHead>,
    /// Why the accepted revision could not be applied, while it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<SyncFailure>,
    /// The last 20 differences that somebody else caused, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftRecord>,
}

/// A commit and its place in the branch's order.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The commit.
    pub commit: CommitId,
    /// Its sequence, where heads are verified by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// What a target was made equal to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The commit.
    pub commit: CommitId,
    /// The Git tree of the path at that commit: the same tree needs no new pass.
    pub tree: String,
    /// How many objects it has.
    pub objects: u32,
    /// When the last of them was accepted by the API server.
    pub at: Timestamp,
}

/// How an object, or all of a Sync, is.
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
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way.
    Progressing,
    /// It cannot be told.
    Unknown,
    /// It is being deleted.
    Terminating,
    /// It will not become healthy by itself.
    Failed,
}

/// The health of everything that a Sync applied.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The worst of all.
    pub state: Health,
    /// Since when it is that.
    pub since: Timestamp,
    /// The commit whose objects these are.
    pub commit: CommitId,
    /// The objects that are not healthy, worst first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectHealth>,
}

/// The health of one object.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectHealth {
    /// Which.
    pub object: ObjectId,
    /// How it is.
    pub state: Health,
    /// Why, in one sentence.
    pub message: String,
}

/// A head that was not accepted.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RefusedHead {
    /// The commit.
    pub commit: CommitId,
    /// Why, in one sentence.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Whose fault it is that something could not be applied or did not become healthy.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The cluster could not take it: unreachable, quota, an admission webhook down, rights missing.
    Cluster,
    /// The content cannot be applied: invalid, a kind that is not allowed, an immutable field.
    Content,
    /// Its workloads failed.
    Workload,
}

/// Why a revision is not running.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SyncFailure {
    /// The commit.
    pub commit: CommitId,
    /// Whose fault it is.
    pub cause: Cause,
    /// What failed, why, and the way out.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// In which way an object differed.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftForm {
    /// A field that Git states had another value.
    Changed,
    /// The object was gone.
    Missing,
}

/// One difference that Tidegate did not cause.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DriftRecord {
    /// The object.
    pub object: ObjectId,
    /// In which way it differed.
    pub form: DriftForm,
    /// The fields that differed, as JSON pointers; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The field manager that wrote them, which is a claim and not authenticated; none where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// When it was seen.
    pub at: Timestamp,
    /// Whether it was corrected.
    pub corrected: bool,
    /// All of it in one sentence.
    pub message: String,
}
