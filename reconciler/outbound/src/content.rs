//! What registries hold, as far as it is read (OCI image specification 1.1).

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_ids::Digest;

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of what is pointed at.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as stated.
    #[serde(default)]
    pub size: u64,
    /// What kind of artifact a referrer is.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Notes of whoever wrote it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// A manifest or index: its bytes, and the digest that was computed over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Computed over `bytes`.
    pub digest: Digest,
    /// What it says of itself, or else what the registry said.
    pub media_type: String,
    /// As they came.
    pub bytes: Vec<u8>,
    pub(crate) parts: Parts,
}

/// The parts of a manifest or index that are used here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parts {
    pub(crate) media_type: Option<String>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// The manifests of an index; of a manifest, none.
    #[must_use]
    pub fn platforms(&self) -> &[Descriptor] {
        self.parts.manifests.as_deref().unwrap_or_default()
    }

    /// The manifest of an index whose configuration speaks for all: the one for linux/amd64, or
    /// else the first that is for any platform at all (build attestations are for none).
    pub(crate) fn representative(&self) -> Option<&Descriptor> {
        let is = |os: &'static str, architecture: &'static str| {
            move |one: &&Descriptor| {
                one.platform.as_ref().is_some_and(|platform| {
                    platform.os == os && platform.architecture == architecture
                })
            }
        };
        let platforms = || self.platforms().iter();
        platforms()
            .find(is("linux", "amd64"))
            .or_else(|| platforms().find(|one| !is("unknown", "unknown")(one)))
    }
}

/// What an image's configuration says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// When it was built, as it says.
    pub created: Option<jiff::Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct ConfigFile {
    created: Option<jiff::Timestamp>,
    config: Option<ConfigSection>,
}

#[derive(Deserialize)]
struct ConfigSection {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl From<ConfigFile> for ImageConfig {
    fn from(file: ConfigFile) -> Self {
        let labels = file.config.and_then(|section| section.labels).unwrap_or_default();
        Self { created: file.created, labels }
    }
}
