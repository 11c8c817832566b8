//! A Git repository: where it is, how to reach it, and whose commits count.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_ids::{CommitId, Period};

use crate::Condition;

/// A Git repository that pipelines and syncs read from.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Repository",
    namespaced,
    status = "RepositoryStatus",
    derive = "PartialEq",
    shortname = "tgrepo",
    category = "tidegate",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
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
#[x_kube(validation = ("self.url.startsWith('https://') || self.url.startsWith('http://127.0.0.1') || self.url.startsWith('http://localhost')", "url must start with https:// (http:// only for loopback addresses)"))]
#[x_kube(validation = ("!self.url.matches('^[a-z]+://[^/]*@')", "url must not contain credentials: put them into a Secret and name it in spec.credentials.secret"))]
pub struct RepositorySpec {
    /// Where it is, such as `https://git.example.com/hospital/environments.git`.
    #[schemars(length(min = 8, max = 2048))]
    pub url: String,
    /// How often to look when no webhook told of a push: a safety net.
    #[serde(default = "crate::default::five_minutes")]
    pub interval: Period,
    /// How to sign in: a Secret of this namespace with `username` and `password`, or `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// The Secret of this namespace whose `token` signs webhook calls. Without it there is no webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<SecretRef>,
    /// Whose commits on source branches count. Without it, every commit does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<SourceVerification>,
    /// Other namespaces whose pipelines and syncs may use this repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// A Secret by name.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
}

/// What is asked of commits on source branches.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.roster", "verify.roster must be true; leave verify out to accept unsigned commits"))]
pub struct SourceVerification {
    /// Commits must be signed (SSHSIG) with a key of somebody in a Roster.
    pub roster: bool,
}

/// What was found there last.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// `Ready`: the last fetch worked.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The heads of its branches, as of the last fetch that changed one; at most 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: BTreeMap<String, CommitId>,
    /// The path of its webhook on the engine, such as `/hooks/4f1d…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}
