//! Where images are read from, so that who verifies one need not care: a repository of a registry,
//! or an OCI layout on disk.

use tidegate_ids::Digest;

use crate::attachments::{self, Found};
use crate::content::Platform;
use crate::referrers::Listing;
use crate::{Error, Layout, Manifest, Repository};

/// How deep indexes may lie in indexes.
const DEPTH: usize = 3;
/// The most manifests of an index, nested ones included.
const PLATFORMS: usize = 256;

/// A place with images in it. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Images {
    /// A repository of a registry.
    Registry(Repository),
    /// A layout on disk.
    Layout(Layout),
}

impl From<Repository> for Images {
    fn from(repository: Repository) -> Self {
        Self::Registry(repository)
    }
}

impl From<Layout> for Images {
    fn from(layout: Layout) -> Self {
        Self::Layout(layout)
    }
}

impl Images {
    /// What a tag points to now.
    ///
    /// # Errors
    /// When the tag is not there, or cannot be read.
    pub async fn resolve(&self, tag: &str) -> Result<Digest, Error> {
        match self {
            Self::Registry(repository) => repository.resolve(tag).await,
            Self::Layout(layout) => layout.resolve(tag),
        }
    }

    /// The manifest or index with this digest; at most 4 MiB.
    ///
    /// # Errors
    /// When it is not there, is too large, or is not what was asked for.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, Error> {
        match self {
            Self::Registry(repository) => repository.manifest(digest).await,
            Self::Layout(layout) => layout.manifest(digest).await,
        }
    }

    /// The blob with this digest.
    ///
    /// # Errors
    /// When it is not there, has more than `cap` bytes, or is not what was asked for.
    pub async fn blob(&self, digest: Digest, cap: usize) -> Result<Vec<u8>, Error> {
        match self {
            Self::Registry(repository) => repository.blob(digest, cap).await,
            Self::Layout(layout) => layout.blob(digest, cap).await,
        }
    }

    /// Everything attached to an image that may be a signature or statement, sorted: Sigstore
    /// bundles and cosign's older layout, by referrers and by tags. What cannot be read of it is
    /// there as [`Found::Unreadable`].
    ///
    /// # Errors
    /// When the places where such things are listed cannot be read, or nothing of what they list.
    pub async fn attached(&self, image: Digest) -> Result<Vec<Found>, Error> {
        attachments::attached(self, image).await
    }

    /// The manifests of an index that may run, with what they are for; of a manifest, none.
    /// Indexes within indexes are followed, three deep.
    ///
    /// # Errors
    /// When one cannot be read, or there are more than 256.
    pub async fn platforms(&self, index: Digest) -> Result<Vec<(Digest, Option<Platform>)>, Error> {
        let mut found = Vec::new();
        let mut indexes = vec![self.manifest(index).await?];
        for _ in 0..DEPTH {
            let mut nested = Vec::new();
            for entry in indexes.iter().flat_map(Manifest::platforms).filter(|one| one.may_run()) {
                if found.len() + nested.len() >= PLATFORMS {
                    return Err(self.too_many(index, format!("{PLATFORMS} manifests")));
                }
                if is_index(&entry.media_type) {
                    nested.push(self.manifest(entry.digest).await?);
                } else {
                    found.push((entry.digest, entry.platform.clone()));
                }
            }
            if nested.is_empty() {
                return Ok(found);
            }
            indexes = nested;
        }
        Err(self.too_many(index, format!("{DEPTH} indexes within each other")))
    }

    pub(crate) async fn listing(&self, image: Digest) -> Result<Listing, Error> {
        match self {
            Self::Registry(repository) => repository.listing(image).await,
            Self::Layout(layout) => layout.listing(image).await,
        }
    }

    pub(crate) fn too_slow(&self, what: String) -> Error {
        let why = "it took too long in all".to_owned();
        Error::Unreachable { host: self.place(), what, why }
    }

    fn too_many(&self, index: Digest, limit: String) -> Error {
        Error::TooLarge { host: self.place(), what: format!("the index {index}"), limit }
    }

    fn place(&self) -> String {
        match self {
            Self::Registry(repository) => repository.name().registry().to_owned(),
            Self::Layout(layout) => layout.place(),
        }
    }
}

impl Repository {
    /// As [`Images::attached`].
    ///
    /// # Errors
    /// As [`Images::attached`].
    pub async fn attached(&self, image: Digest) -> Result<Vec<Found>, Error> {
        Images::from(self.clone()).attached(image).await
    }
}

fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}
