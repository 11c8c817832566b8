//! People and machines: which user names, e-mails and keys belong to one of them.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Who is who. Several Rosters add up.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default,
)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Roster",
    derive = "PartialEq",
    shortname = "tgroster",
    category = "tidegate",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RosterSpec {
    /// People.
    #[serde(default)]
    pub people: Vec<Person>,
    /// Machines that sign commits, such as a forge that merges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
}

/// One person.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// What people call this person.
    #[schemars(length(min = 1))]
    pub name: String,
    /// All user names, as the API server authenticates them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// All e-mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    /// All keys that sign commits, in OpenSSH form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
}

/// A machine that signs commits.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// What it is called.
    #[schemars(length(min = 1))]
    pub name: String,
    /// All keys that sign commits, in OpenSSH form.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
}
