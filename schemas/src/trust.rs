//! Who must have signed the images of these names.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What an image must prove before it may run. An image that no policy names does not run;
/// where several name it, all must be satisfied.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "TrustPolicy",
    derive = "PartialEq",
    shortname = "tgtrust",
    category = "tidegate",
    printcolumn(name = "Images", type_ = "string", json_path = ".spec.images"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TrustPolicySpec {
    /// Canonical image names (registry and repository); a trailing `/*` stands for everything below.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = ("self.all(i, i.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*(/[*])?$'))", "an image name is registry/repository in lower case, or registry/path/* for everything below"))]
    pub images: Vec<String>,
    /// Requirements; every one must be satisfied.
    #[schemars(length(min = 1, max = 16))]
    pub require: Vec<Requirement>,
}

/// One of these authorities must have signed.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The authorities.
    #[schemars(length(min = 1, max = 16))]
    pub any_of: Vec<Authority>,
}

/// Somebody who signs images.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// The holder of a key.
    pub key: KeyAuthority,
}

/// A public key, here or in a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.secret) != has(self.pem)", "name exactly one of secret and pem"))]
pub struct KeyAuthority {
    /// A Secret in the engine's namespace whose `cosign.pub` is the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret: Option<String>,
    /// The key itself (PEM, SubjectPublicKeyInfo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub pem: Option<String>,
    /// Whether the signature must be in a transparency log.
    pub log: Log,
}

/// What is asked of transparency logs.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// No log entry is asked for. It has to be said.
    None,
}
