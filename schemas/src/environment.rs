//! One target of a class. Needed only where something differs from the defaults.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use tidegate_ids::{EnvironmentName, PipelineName};

/// One environment of a pipeline. Its name is the environment's name.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Environment",
    namespaced,
    derive = "PartialEq",
    shortname = "tgenv",
    category = "tidegate",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipeline"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target.namespace"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The EnvironmentClass whose rules hold here.
    pub class: EnvironmentName,
    /// The pipeline that this is an environment of.
    pub pipeline: PipelineName,
    /// Where it runs; `{pipeline}-{environment}` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Admit no promotion here until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Where objects run.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
}
