//! What registries hold, as far as it is read (OCI image specification 1.1).
//!
//! Only what its digest covers is read from a manifest. A document that is a manifest and an index
//! at once is refused: tools disagree on what such a thing is (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
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
    /// Its size in bytes, as stated; 0 where it is not.
    #[serde(default)]
    pub size: u64,
    /// What kind of artifact a referrer is.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Notes of whoever wrote it.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What an image of an index is for.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Platform {
    /// The operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// The processor, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Its variant, such as `v8`.
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    fn is(&self, os: &str, architecture: &str) -> bool {
        self.os == os && self.architecture == architecture
    }
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
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifests: Option<Vec<Descriptor>>,
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads one; `said` is the type that came with it. The error is a sentence without subject.
    pub(crate) fn read(bytes: Vec<u8>, said: Option<&str>) -> Result<Self, String> {
        let parts: Parts = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if parts.manifests.is_some() && (parts.config.is_some() || !parts.layers.is_empty()) {
            return Err("it is a manifest and an index at once".to_owned());
        }
        let media_type = parts.media_type.as_deref().or(said).unwrap_or_default().to_owned();
        Ok(Self { digest: Digest::of(&bytes), media_type, bytes, parts })
    }

    /// Its own annotations, which its digest covers.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.parts.annotations
    }

    /// The manifest that this one is attached to.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        self.parts.subject.as_ref()
    }

    /// What kind of artifact it is: as stated, or else the type of its configuration (image
    /// specification, "Guidelines for Artifact Usage").
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        let config = || self.parts.config.as_ref().map(|config| config.media_type.as_str());
        self.parts.artifact_type.as_deref().or_else(config).filter(|text| !text.is_empty())
    }

    /// Whether it is an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.parts.manifests.is_some()
    }

    /// The manifests of an index; of a manifest, none.
    #[must_use]
    pub fn platforms(&self) -> &[Descriptor] {
        self.parts.manifests.as_deref().unwrap_or_default()
    }

    /// The manifest of an index whose configuration speaks for all: the one for linux/amd64, or
    /// else the first that is for any platform at all.
    pub(crate) fn representative(&self) -> Option<&Descriptor> {
        let platforms = || self.platforms().iter().filter(|one| one.may_run());
        let first = |one: &&Descriptor| {
            one.platform.as_ref().is_some_and(|platform| platform.is("linux", "amd64"))
        };
        platforms().find(first).or_else(|| platforms().next())
    }
}

impl Descriptor {
    /// Of something that is not listed anywhere.
    pub(crate) fn of(digest: Digest, artifact_type: Option<String>) -> Self {
        let (media_type, annotations) = (String::new(), BTreeMap::new());
        Self { media_type, digest, size: 0, artifact_type, annotations, platform: None }
    }

    /// Whether it is an image for some platform: build attestations in an index are for none.
    pub(crate) fn may_run(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| !platform.is("unknown", "unknown"))
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

/// Go writes an empty map or list as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
