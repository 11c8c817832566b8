//! What runs although the rules in force do not let it.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use tidegate_ids::EnvironmentName;

/// An image that runs, or is held by a lane, and is not verified.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Unverified {
    /// Where.
    pub environment: EnvironmentName,
    /// The image, as `repository@digest` where the digest is known.
    pub image: String,
    /// What runs it, from its controller down: `Deployment web, ReplicaSet web-5d`; or the release
    /// that holds it.
    pub object: String,
    /// How many pods run it.
    #[serde(default)]
    pub pods: u32,
    /// What is wrong with it.
    pub reason: UnverifiedReason,
    /// What is wrong, why, and the way out.
    pub message: String,
    /// Since when it is known.
    pub since: Timestamp,
}

/// What is wrong with an image that runs.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum UnverifiedReason {
    /// It would pass, had nobody revoked it, its key or its signer. New pods with it are refused.
    Revoked,
    /// The node runs another image than the pod states.
    Different,
    /// It does not pass the rules in force.
    Failed,
    /// Nothing of this environment names it.
    NotListed,
    /// It cannot be told now.
    Unknown,
}

impl std::fmt::Display for UnverifiedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
