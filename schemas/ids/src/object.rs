//! Which Kubernetes object: its group, kind, namespace and name. The version is
//! no part of it: the same object is served in several.

use serde::{Deserialize, Serialize};

/// A kind in its group, without a version.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
}

impl GroupKind {
    /// From a group (empty for core) and a kind.
    #[must_use]
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl std::fmt::Display for GroupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for GroupKind {
    type Err = crate::ParseError;
    /// Reads `Kind` or `Kind.group.example`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(crate::ParseError::new(
                text,
                "kind",
                "it looks like Deployment.apps, or Service for the core group",
            ));
        }
        Ok(Self::new(group, kind))
    }
}

/// One object of a cluster.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct ObjectId {
    /// Group and kind.
    #[serde(flatten)]
    pub group_kind: GroupKind,
    /// The namespace; none for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for ObjectId {
    /// `Deployment.apps clinic-dev/odoo-web`, or `Namespace clinic-dev`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.group_kind, self.name),
            None => write!(f, "{} {}", self.group_kind, self.name),
        }
    }
}
