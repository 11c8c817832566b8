//! One lane's content: what would run in every environment, immutable and
//! identified by the rendered bytes themselves.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{CommitId, Digest, EnvironmentName, LaneName, ObjectId, PipelineName};

use crate::Severity;

/// One lane's content. Made by Tidegate only.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    status = "ReleaseStatus",
    derive = "PartialEq",
    shortname = "tgrel",
    category = "tidegate",
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipeline"),
    printcolumn(name = "Lane", type_ = "string", json_path = ".spec.lane"),
    printcolumn(
        name = "Commit",
        type_ = "string",
        json_path = ".spec.source.commit",
        priority = 1
    ),
    printcolumn(name = "Change", type_ = "string", json_path = ".spec.source.title"),
    printcolumn(
        name = "Quarantined",
        type_ = "string",
        json_path = ".status.quarantined[*].environment"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a Release is never edited"))]
pub struct ReleaseSpec {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its lane.
    pub lane: LaneName,
    /// Its identity: the digest of what it would run (`tidegate-release/v1`).
    pub id: Digest,
    /// The commit it was rendered from.
    pub source: SourceCommit,
    /// The images that it runs, each verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ReleaseImage>,
    /// What it would run in each environment.
    pub rendered: BTreeMap<EnvironmentName, RenderedSet>,
    /// The releases of the lanes that its own lane requires, as of the same source commit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requires: BTreeMap<LaneName, String>,
    /// Its place in the order of the lane's releases: higher is newer.
    pub sequence: u64,
}

/// A commit of the source repository.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceCommit {
    /// The commit.
    pub commit: CommitId,
    /// Its author as Git states it, which is a claim: `Jane Roe <jane@hospital.example>`.
    pub author: String,
    /// Who signed it, by the Roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The first line of its message.
    pub title: String,
    /// When it was committed, as Git states it.
    pub time: Timestamp,
}

/// An image of a release.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseImage {
    /// Canonical registry and repository.
    pub repository: String,
    /// The tag it was found by, where one was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What runs.
    pub digest: Digest,
    /// What verification said when the release was made.
    pub verdict: Verdict,
}

/// The outcome of verifying one image under the trust policies in force.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether it may run.
    pub passed: bool,
    /// The digest of the rules that were applied: the verdict stands as long as they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
    /// The policies that were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Who signed, as the policies name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// Why it may not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// When it has to be judged again by itself: a key, a scan or an exception ends then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The statements that were proved and counted, so that nobody has to look for them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<CountedStatement>,
    /// The exception that it runs by, where no signature was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
    /// What the newest counted scan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanRecord>,
}

/// A statement about an image that counted.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CountedStatement {
    /// Its predicate type.
    #[serde(rename = "type")]
    pub type_: String,
    /// The digest of what is attached to the image: a bundle, or a layer of the older layout.
    pub digest: Digest,
    /// Who made it, as the policies name them.
    pub signer: String,
}

/// A digest that runs without a signature, by a policy's `static` list.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The policy.
    pub policy: String,
    /// Who answers for it.
    pub owner: String,
    /// The second person.
    pub approved_by: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires: Timestamp,
}

/// What a scan says.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScanRecord {
    /// When it ended.
    pub at: Timestamp,
    /// The scanner, as it names itself.
    pub scanner: String,
    /// How many findings there are of each severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<Severity, u32>,
}

/// The rendered manifests for one environment.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RenderedSet {
    /// The digest of the set (`tidegate-manifests/v1`).
    pub manifests: Digest,
    /// How many objects it has.
    pub objects: u32,
    /// Which of the release's images it names, as `repository@digest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// What happened to a release.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Where it regressed. Its content does not go on from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantine>,
}

/// Content that regressed in an environment.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Where.
    pub environment: EnvironmentName,
    /// The content.
    pub manifests: Digest,
    /// The promotion that brought it.
    pub promotion: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Something wrong with a manifest. Findings refuse a candidate.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule, such as `lane-ownership`.
    pub rule: String,
    /// The object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// What is wrong, where, why, and the way out.
    pub message: String,
}
