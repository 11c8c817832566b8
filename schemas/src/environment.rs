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
    /// Where custom resources name images, for kinds that Tidegate does not know; added to those of
    /// the class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub image_fields: Vec<ImageField>,
    /// Images, as `repository@sha256:…`, that run here and that no release names, such as the sidecar
    /// of a service mesh; added to those of the class. They are verified like every other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        inner(length(max = 400), regex(pattern = r"^[^@\s]+@sha256:[0-9a-f]{64}$"))
    )]
    pub also_verified: Vec<String>,
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

/// Where the objects of one kind name images.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageField {
    /// The kind's API group; Kubernetes' own kinds are known.
    #[schemars(length(min = 3, max = 253))]
    #[x_kube(validation = ("self.contains('.') && !self.endsWith('.k8s.io') && self != 'tidegate.dev'", "group is that of an operator's kinds; those of Kubernetes and of Tidegate are known"))]
    pub group: String,
    /// The kind.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Where the references are: JSON pointers such as `/spec/imageName`, in which a step `*` stands
    /// for every element of a list or mapping (`/spec/tools/*/image`).
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 2, max = 253), regex(pattern = r"^(/([^/*~\s]|~[01])+|/\*)+$"))
    )]
    pub paths: Vec<String>,
}
