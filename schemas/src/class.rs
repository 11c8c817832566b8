//! How environments of a class behave: gates, watch, and what to do on regression.
//!
//! Written by platform and security engineers; whoever writes a Pipeline cannot
//! weaken it.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{EnvironmentName, Period};

use crate::{ImageField, Severity};

/// The rules for environments of one class.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default,
)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "EnvironmentClass",
    derive = "PartialEq",
    shortname = "tgclass",
    category = "tidegate",
    printcolumn(name = "Drift", type_ = "string", json_path = ".spec.drift"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentClassSpec {
    /// What to do when somebody changes or deletes an object.
    #[serde(default)]
    pub drift: Drift,
    /// Rules by lane; `*` for every lane, then refined by the lane's own entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<String, LanePolicy>,
    /// What may be rolled back to.
    #[serde(default)]
    pub rollback: Rollback,
    /// Whether the API server refuses pods with images that are not on the list of verified ones.
    #[serde(default)]
    pub verified_images: VerifiedImages,
    /// Where custom resources name images, for kinds that Tidegate does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub image_fields: Vec<ImageField>,
    /// Images, as `repository@sha256:…`, that run beside every release, such as the sidecar of a
    /// service mesh. They are verified like every other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        inner(length(max = 400), regex(pattern = r"^[^@\s]+@sha256:[0-9a-f]{64}$"))
    )]
    pub also_verified: Vec<String>,
}

/// What happens to a pod with an image that was not verified.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
pub enum VerifiedImages {
    /// The API server refuses it, whoever makes it.
    #[default]
    Enforce,
    /// It runs, and is shown in the Pipeline's status.
    Report,
}

/// What to do about drift.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
pub enum Drift {
    /// Restore what Git says, and record it.
    #[default]
    Correct,
    /// Only record it.
    Report,
}

/// The rules for one lane.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LanePolicy {
    /// What must be open before a change is admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// How long a change is watched after it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// How long a change may take from its commit until it is applied and healthy; 10 minutes where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
}

/// The gates of a lane.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// The environments where this content must have been healthy; the previous one where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<BTreeMap<EnvironmentName, After>>,
    /// Who must approve: every rule, each with its count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Vec<ApprovalRule>>,
    /// What the images' newest scans must say; nothing where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<ScanGate>,
}

/// What the newest scan of every image must say, at the moment of admission. Whose scans count is
/// a TrustPolicy's business (`attestations[].vulnerabilities`).
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScanGate {
    /// How old it may be.
    pub max_age: Period,
    /// The worst severity that is accepted.
    pub max_severity: Severity,
}

/// How long content must have been healthy.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct After {
    /// How long in all.
    #[serde(default)]
    pub healthy_for: Period,
    /// Interruptions shorter than this do not start the count again.
    #[serde(default)]
    pub tolerance: Period,
}

/// Some people of some groups must approve.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRule {
    /// What the rule is called where people read of it.
    #[serde(default = "approval")]
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Whose approvals count.
    #[schemars(length(min = 1, max = 32))]
    pub from: Vec<Subject>,
    /// How many different people.
    #[serde(default = "crate::default::one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
    /// Whose approvals do not count, whatever groups they are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<Excluded>,
    /// How old an approval may be when it is counted; seven days where nothing is said.
    #[serde(default = "seven_days")]
    pub valid_for: Period,
}

fn approval() -> String {
    "approval".to_owned()
}

fn seven_days() -> Period {
    Period::seconds(7 * 86400)
}

/// A group or a user.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.group) != has(self.user)", "name exactly one of group and user"))]
#[x_kube(validation = ("!has(self.group) || !self.group.startsWith('system:')", "group must be people's: groups that start with system: are machines'"))]
pub struct Subject {
    /// A group, as the API server authenticates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub group: Option<String>,
    /// A user name, as the API server authenticates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
}

/// Somebody who has a part in the change.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Excluded {
    /// Who asked for the promotion.
    Requester,
    /// Who signed any source commit between what runs and this release.
    Author,
}

/// The time after a change in which it is blamed for failures.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// How long.
    #[serde(default, rename = "for")]
    pub length: Period,
    /// What happens when its workloads fail in that time.
    #[serde(default)]
    pub on_regression: OnRegression,
}

/// What a regression causes.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
pub enum OnRegression {
    /// A forward commit that restores the last known good content.
    #[default]
    Rollback,
    /// Nothing is moved; the release is quarantined and people decide.
    Freeze,
}

/// What may be rolled back to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// How many known good contents are kept as targets.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub keep: u32,
    /// How long ago such content may have run.
    #[serde(default = "sixty_days")]
    pub max_age: Period,
}

const fn three() -> u32 {
    3
}

fn sixty_days() -> Period {
    Period::seconds(60 * 86400)
}

impl Default for Rollback {
    fn default() -> Self {
        Self { keep: three(), max_age: sixty_days() }
    }
}
