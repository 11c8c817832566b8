//! A person's word on one promotion: made with the person's own credential, never edited.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use tidegate_ids::{Digest, EnvironmentName};

/// I approve, or reject, exactly this change.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Approval",
    namespaced,
    derive = "PartialEq",
    shortname = "tgapp",
    category = "tidegate",
    printcolumn(name = "Promotion", type_ = "string", json_path = ".spec.promotion"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an Approval is never edited: create another one"))]
#[x_kube(validation = ("self.decision != 'Reject' || (has(self.reason) && self.reason != '')", "a rejection needs a reason"))]
pub struct ApprovalSpec {
    /// The Promotion, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub promotion: String,
    /// Its uid: a later promotion of the same name is another one.
    #[schemars(length(min = 1, max = 64))]
    pub promotion_uid: String,
    /// Its environment, on which the person holds the verb `approve` or `reject`.
    pub environment: EnvironmentName,
    /// The change digest that was looked at (`status.change` of the Promotion).
    pub change: Digest,
    /// What is decided.
    pub decision: Decision,
    /// The person's user name, as the API server authenticates it.
    #[schemars(length(min = 1, max = 253))]
    pub user: String,
    /// Those of the person's groups that this decision is made for.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub groups: Vec<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

/// Yes or no.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may go on.
    Approve,
    /// It must not.
    Reject,
}
