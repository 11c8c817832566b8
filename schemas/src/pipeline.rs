//! What an application team writes: source, lanes, images to follow, order of environments.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{CommitId, Digest, EnvironmentName, LaneName};

use crate::{Condition, Unverified};

/// A pipeline: what changes, and through which environments it travels.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    shortname = "tgpl",
    category = "tidegate",
    printcolumn(name = "Repository", type_ = "string", json_path = ".spec.source.repository"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.images) || self.images.all(i, self.lanes.exists(l, l.name == i.lane))", "images[].lane must name one of spec.lanes"))]
#[x_kube(validation = ("self.lanes.all(l, !has(l.requires) || l.requires.all(r, r != l.name && self.lanes.exists(o, o.name == r)))", "lanes[].requires must name other lanes of spec.lanes"))]
#[x_kube(validation = ("!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..')", "path must be relative to the repository's root and must not contain '..'"))]
#[x_kube(validation = ("self.path.contains('{lane}') && self.path.contains('{environment}')", "path must contain {environment} and {lane}"))]
pub struct PipelineSpec {
    /// Where the environments are described.
    pub source: PipelineSource,
    /// Images whose new versions become releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<FollowedImage>,
    /// Secrets of this namespace that the registries of these images are shown, of type
    /// `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
    /// The environments, in the order a change travels.
    #[serde(default = "dev_staging_production")]
    #[schemars(length(min = 1, max = 16))]
    pub environments: Vec<EnvironmentName>,
    /// The lanes.
    #[serde(default = "security_infra_app")]
    #[schemars(length(min = 1, max = 8))]
    pub lanes: Vec<LaneSpec>,
    /// Where a lane of an environment is in the repository; `{pipeline}`, `{environment}` and
    /// `{lane}` stand for the names.
    #[serde(default = "path")]
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
    /// Make no releases and admit no promotions until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

#[allow(clippy::expect_used, reason = "the names are constants, and a test reads them")]
fn dev_staging_production() -> Vec<EnvironmentName> {
    ["dev", "staging", "production"].iter().map(|n| n.parse().expect("a valid name")).collect()
}

fn security_infra_app() -> Vec<LaneSpec> {
    ["security", "infra", "app"]
        .iter()
        .map(|n| LaneSpec { name: lane(n), requires: Vec::new() })
        .collect()
}

#[allow(clippy::expect_used, reason = "the names are constants, and a test reads them")]
fn lane(name: &str) -> LaneName {
    name.parse().expect("a valid name")
}

fn app() -> LaneName {
    lane("app")
}

fn path() -> String {
    "{pipeline}/{environment}/{lane}".to_owned()
}

/// The source of a pipeline.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSource {
    /// A Repository of this namespace, or `namespace/name` of one that allows this namespace.
    #[schemars(length(min = 1, max = 317))]
    pub repository: String,
    /// The branch people write to.
    #[serde(default = "crate::default::main")]
    #[schemars(length(min = 1, max = 244))]
    #[x_kube(validation = ("!self.startsWith('deploy/')", "branch must not be one of Tidegate's own deploy branches"))]
    pub branch: String,
}

/// A separate path for one kind of change.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LaneSpec {
    /// Its name.
    pub name: LaneName,
    /// Lanes whose content of the same source must be in an environment first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub requires: Vec<LaneName>,
}

/// An image to follow.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FollowedImage {
    /// Registry and repository, such as `registry.example.com/hospital/odoo`.
    #[schemars(length(min = 3, max = 255))]
    pub repository: String,
    /// Which of its versions.
    pub follow: Follow,
    /// The lane that uses it.
    #[serde(default = "app")]
    pub lane: LaneName,
}

/// Which version of an image is wanted: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.semver), has(self.newest), has(self.digest)].filter(f, f).size() == 1", "name exactly one of semver, newest and digest"))]
pub struct Follow {
    /// The highest tag in this range, such as `~17.0` (Masterminds' rules).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub semver: Option<String>,
    /// The newest tag that a pattern matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    /// Exactly this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// The newest of some tags, by the creation time in the image's configuration.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Newest {
    /// A glob over the whole tag, where `*` stands for any characters: `17.0-*`.
    #[schemars(length(min = 1, max = 128))]
    pub pattern: String,
}

/// What the pipeline found.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// `Ready`, `Source` (it can be read), `Images` (registries answer), one `Lane-<name>` for each lane,
    /// `Verified` (everything that runs is) and `Enforced` (nothing else can).
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last source commit that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// What is followed, and which version was chosen last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<FollowedStatus>,
    /// The release of each lane that the source and the images make now: it is what travels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub releases: BTreeMap<LaneName, String>,
    /// The last 20 candidates that did not become a release, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Candidate>,
    /// What runs in its environments, or is held there, and is not verified by the rules in force; the
    /// first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverified: Vec<Unverified>,
}

/// A followed image's last chosen version.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FollowedStatus {
    /// Registry and repository.
    pub repository: String,
    /// The tag, where one was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// Something that might have become a release.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its lane.
    pub lane: LaneName,
    /// The source commit.
    pub commit: CommitId,
    /// The image it was refused for, as `repository@digest`, where it was an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The tag that image was found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Why it was refused: what, where, and the way out.
    pub reasons: Vec<String>,
    /// When.
    pub at: Timestamp,
}
