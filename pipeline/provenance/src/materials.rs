//! What policies refer to and do not contain: keys in Secrets, trusted roots in ConfigMaps.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schemas::{Authority, TrustPolicySpec};

/// The entry of a Secret that holds a public key, as cosign names the file.
pub const KEY_ENTRY: &str = "cosign.pub";
/// The entry of a `ConfigMap` that holds a Sigstore trusted root.
pub const ROOT_ENTRY: &str = "trusted_root.json";

/// Gives what a policy refers to by name.
pub trait Materials {
    /// The `cosign.pub` of a Secret in the engine's namespace (PEM).
    fn secret(&self, name: &str) -> Option<String>;
    /// The `trusted_root.json` of a ConfigMap in the engine's namespace.
    fn config_map(&self, name: &str) -> Option<String>;
}

/// Materials that were fetched before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Keys (PEM) by the names of their Secrets.
    pub secrets: BTreeMap<String, String>,
    /// Trusted roots (JSON) by the names of their ConfigMaps.
    pub config_maps: BTreeMap<String, String>,
}

impl Materials for Gathered {
    fn secret(&self, name: &str) -> Option<String> {
        self.secrets.get(name).cloned()
    }

    fn config_map(&self, name: &str) -> Option<String> {
        self.config_maps.get(name).cloned()
    }
}

/// The names of what a policy refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
}

impl Needed {
    /// What this policy refers to.
    #[must_use]
    pub fn by(spec: &TrustPolicySpec) -> Self {
        let required = spec.require.iter().flat_map(|one| &one.any_of);
        let attesting = spec.attestations.iter().flat_map(|one| &one.by);
        let secret = |one: &Authority| one.key.as_ref()?.secret.clone();
        Self {
            secrets: required.chain(attesting).filter_map(secret).collect(),
            config_maps: spec.roots.iter().filter_map(|one| one.config_map.clone()).collect(),
        }
    }
}
