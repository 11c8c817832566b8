//! What is attached to an image: referrers, and the signatures among them.
//!
//! A registry lists referrers by its API; where it has none, clients keep the list under the tag
//! `sha256-<hex>`. A registry that was upgraded may have both, so both are read. "There is no
//! such list" is an answer; any error is an error, because "no signature" must never be the
//! meaning of a failed request.

use serde::Deserialize;
use tidegate_ids::Digest;

use crate::repository::MANIFEST_CAP;
use crate::session::read_json;
use crate::{Descriptor, Error, Repository};

const REFERRERS: usize = 64;
const BUNDLE_CAP: usize = 1 << 20;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

impl Repository {
    /// Everything that refers to a manifest, or only artifacts of one type. At most 64.
    ///
    /// # Errors
    /// When a list cannot be read, or is longer.
    pub async fn referrers(
        &self,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut found = self.listed(digest).await?;
        for one in self.listed_under_tag(digest).await? {
            if found.iter().all(|known| known.digest != one.digest) {
                found.push(one);
            }
        }
        self.count(digest, found.len())?;
        if let Some(wanted) = artifact_type {
            found.retain(|one| one.artifact_type.as_deref() == Some(wanted));
        }
        Ok(found)
    }

    /// The Sigstore bundles attached to a manifest, as they are. At most 64, of 1 MiB each.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn bundles(&self, digest: Digest) -> Result<Vec<Vec<u8>>, Error> {
        let mut bundles = Vec::new();
        for referrer in self.referrers(digest, None).await? {
            // Some registries list the configuration's type for the artifact's: look inside.
            match referrer.artifact_type.as_deref() {
                None | Some("" | EMPTY) => {}
                Some(artifact_type) if artifact_type.starts_with(BUNDLE) => {}
                Some(_) => continue,
            }
            let manifest = self.manifest(referrer.digest).await?;
            for layer in manifest.parts.layers {
                if layer.media_type.starts_with(BUNDLE) {
                    self.count(digest, bundles.len() + 1)?;
                    bundles.push(self.blob(layer.digest, BUNDLE_CAP).await?);
                }
            }
        }
        Ok(bundles)
    }

    async fn listed(&self, digest: Digest) -> Result<Vec<Descriptor>, Error> {
        #[derive(Deserialize)]
        struct Page {
            manifests: Option<Vec<Descriptor>>,
        }
        let what = format!("the referrers of {}@{digest}", self.name());
        let mut found = Vec::new();
        let mut next = Some(self.url(&format!("referrers/{digest}"))?);
        // Each page but the last has at least one referrer, or the list does not end.
        for _ in 0..=REFERRERS {
            let Some(url) = next else { return Ok(found) };
            let response = match self.get(url, &what, Some(INDEX), MANIFEST_CAP).await {
                Err(Error::NotFound { .. }) if found.is_empty() => return Ok(found),
                answer => answer?,
            };
            found.extend(read_json::<Page>(&response, &what)?.manifests.unwrap_or_default());
            self.count(digest, found.len())?;
            next = self.next_page(&response, &what)?;
        }
        self.count(digest, usize::MAX).map(|()| found)
    }

    async fn listed_under_tag(&self, digest: Digest) -> Result<Vec<Descriptor>, Error> {
        let tag = format!("sha256-{}", digest.hex());
        let index = match self.tagged(&tag).await {
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            answer => answer?,
        };
        index.parts.manifests.ok_or_else(|| Error::Malformed {
            host: self.name().registry().to_owned(),
            what: format!("the referrers of {}:{tag}", self.name()),
            why: "what has this tag is not an index".to_owned(),
        })
    }

    fn count(&self, digest: Digest, found: usize) -> Result<(), Error> {
        if found <= REFERRERS {
            return Ok(());
        }
        let what = format!("the referrers of {}@{digest}", self.name());
        let limit = format!("{REFERRERS} referrers");
        Err(Error::TooLarge { host: self.name().registry().to_owned(), what, limit })
    }
}
