//! What a release is: the rendered bytes that would run, and nothing else.
//!
//! Whatever happens to the source, the renderer or Tidegate's version, one release
//! can never render twice differently, because the rendered digests *are* its
//! identity. A commit that changes no rendered byte is the same release.

use crate::Error;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_ids::{Digest, EnvironmentName, LaneName, PipelineName};
use tidegate_manifest::{ImageReference, Set};

/// What is hashed into a release's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseContent {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The lane.
    pub lane: LaneName,
    /// The digest of the rendered set of each environment.
    pub rendered: BTreeMap<EnvironmentName, Digest>,
    /// The images of all environments, by canonical repository.
    pub images: BTreeMap<String, BTreeSet<Digest>>,
}

impl ReleaseContent {
    /// From the rendered and pinned sets of every environment, and every image that they name. An
    /// image without a digest is not counted: policy refuses it before a release is made.
    #[must_use]
    pub fn new<'a>(
        pipeline: PipelineName,
        lane: LaneName,
        sets: &BTreeMap<EnvironmentName, Set>,
        named: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let rendered = sets.iter().map(|(name, set)| (name.clone(), set.digest())).collect();
        let mut images = BTreeMap::<String, BTreeSet<Digest>>::new();
        for text in named {
            if let Ok(image) = text.parse::<ImageReference>()
                && let Some(digest) = image.digest
            {
                images.entry(image.repository()).or_default().insert(digest);
            }
        }
        Self { pipeline, lane, rendered, images }
    }
}

/// The identity of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId(Digest);

impl ReleaseId {
    /// `sha256("tidegate-release/v1", content)`.
    ///
    /// # Errors
    /// When the content has no JSON form, which cannot be for its types.
    pub fn of(content: &ReleaseContent) -> Result<Self, Error> {
        Digest::tagged("tidegate-release/v1", content)
            .map(Self)
            .map_err(|error| Error::Identity(error.to_string()))
    }

    /// The digest.
    #[must_use]
    pub const fn digest(self) -> Digest {
        self.0
    }

    /// The name of its object: `<pipeline>-<lane>-<first 10>`.
    #[must_use]
    pub fn name(self, pipeline: &PipelineName, lane: &LaneName) -> String {
        format!("{pipeline}-{lane}-{}", self.0.short())
    }

    /// The Git reference under which its rendered sets are kept.
    #[must_use]
    pub fn reference(self) -> String {
        format!("refs/tidegate/releases/{}", self.0.hex())
    }
}

impl From<Digest> for ReleaseId {
    /// From the identity that a Release states.
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use tidegate_manifest::{ImageFields, Manifest};

    fn pod(name: &str, image: &str) -> Manifest {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                           "spec": {"containers": [{"image": image}]}});
        Manifest::from_value(value, "pod.yaml").unwrap()
    }

    fn id(sets: &[(&str, Vec<Manifest>)]) -> ReleaseId {
        let sets = sets
            .iter()
            .map(|(name, pods)| (name.parse().unwrap(), Set::from_manifests(pods.clone()).unwrap()))
            .collect();
        ReleaseId::of(&content(&sets)).unwrap()
    }

    fn content(sets: &BTreeMap<EnvironmentName, Set>) -> ReleaseContent {
        let named: Vec<String> =
            sets.values().flat_map(|s| s.images(&ImageFields::default())).collect();
        ReleaseContent::new("clinic".parse().unwrap(), "app".parse().unwrap(), sets, &named)
    }

    #[test]
    fn a_release_is_named_after_what_it_would_run() {
        let digest = Digest::of(b"odoo");
        let release = id(&[("dev", vec![pod("web", &format!("odoo@{digest}"))])]);
        let name = release.name(&"clinic".parse().unwrap(), &"app".parse().unwrap());
        assert_eq!(name, format!("clinic-app-{}", release.digest().short()));
        assert_eq!(
            release.reference(),
            format!("refs/tidegate/releases/{}", release.digest().hex())
        );
        let other = id(&[("staging", vec![pod("web", &format!("odoo@{digest}"))])]);
        assert_ne!(release, other, "the environment counts");
    }

    #[test]
    fn every_image_is_part_of_the_content() {
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        let pods = [pod("a", &format!("redis@{a}")), pod("b", &format!("docker.io/redis@{b}"))];
        let sets = BTreeMap::from([("dev".parse().unwrap(), Set::from_manifests(pods).unwrap())]);
        let content = content(&sets);
        let expected =
            BTreeMap::from([("docker.io/library/redis".to_owned(), BTreeSet::from([a, b]))]);
        assert_eq!(content.images, expected);
    }

    proptest! {
        #[test]
        fn order_never_matters_and_content_always_does(
            names in prop::collection::btree_set("[a-z]{1,4}", 1..6),
            environments in prop::collection::btree_set("[a-z]{1,4}", 1..4),
        ) {
            let pods: Vec<Manifest> = names.iter().map(|n| pod(n, "odoo")).collect();
            let forward: Vec<_> =
                environments.iter().map(|e| (e.as_str(), pods.clone())).collect();
            let backward: Vec<_> = environments
                .iter()
                .rev()
                .map(|e| (e.as_str(), pods.iter().rev().cloned().collect()))
                .collect();
            prop_assert_eq!(id(&forward), id(&backward));
            let mut changed = forward.clone();
            changed[0].1[0] = pod(names.first().unwrap(), "other");
            prop_assert_ne!(id(&forward), id(&changed));
        }
    }
}
