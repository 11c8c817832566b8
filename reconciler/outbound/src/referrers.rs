//! What refers to an image, as a registry lists it.
//!
//! A registry lists referrers by its API; where it has none, clients keep the list under the tag
//! `sha256-<hex>`. A registry that was upgraded may have both, so both are read and united. "There
//! is no such list" (404) is an answer; any other failure of the registry is an error, because "no
//! signature" must never be the meaning of a failed request. What people pushed is another matter:
//! a tag that holds nonsense, or an entry that is none, is noted and stops nobody.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;
use serde::Deserialize;
use tidegate_ids::Digest;

use crate::attachments::Relevance;
use crate::http::host;
use crate::repository::MANIFEST_CAP;
use crate::session::read_json;
use crate::{Descriptor, Error, Manifest, Repository};

/// The most entries of a list that are looked at, whatever their kind.
const LISTED: usize = 4096;
const PAGES: usize = 100;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The tags of cosign's older layout that hold something signed.
pub(crate) const OLDER: [&str; 2] = ["sig", "att"];

/// Where an image's signatures and statements may be.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Each once, in the order of their digests.
    pub(crate) referrers: BTreeMap<Digest, Descriptor>,
    /// What cosign's older tags hold.
    pub(crate) older: Vec<Manifest>,
    /// What could not be looked at, and why.
    pub(crate) unread: Vec<String>,
}

/// A page of referrers. Entries are read one by one: one that is none spoils no other.
#[derive(Deserialize)]
struct Page {
    manifests: Option<Vec<serde_json::Value>>,
}

impl Listing {
    /// Adds entries; how many were not known before. An index that is listed twice counts once.
    fn add_page(&mut self, page: Page, place: &str) -> usize {
        let before = self.referrers.len();
        for entry in page.manifests.unwrap_or_default() {
            match serde_json::from_value::<Descriptor>(entry) {
                Ok(one) => self.add(one, place),
                Err(error) => self.note(format!("an entry of {place} is not read: {error}")),
            }
        }
        self.referrers.len() - before
    }

    /// Adds one entry. No entry talks another of the same digest out of being read.
    pub(crate) fn add(&mut self, one: Descriptor, place: &str) {
        let relevance = |it: &Descriptor| Relevance::of(it.artifact_type.as_deref());
        let full = self.referrers.len() >= LISTED;
        match self.referrers.get_mut(&one.digest) {
            Some(known) if relevance(&one) < relevance(known) => *known = one,
            Some(_) => {}
            None if full => {
                self.note(format!("{place} has more than {LISTED} entries; the rest is not read"));
            }
            None => {
                self.referrers.insert(one.digest, one);
            }
        }
    }

    /// Adds the entries of an index that stands in for the API.
    pub(crate) fn add_index(&mut self, bytes: &[u8], place: &str) {
        match serde_json::from_slice::<Page>(bytes) {
            Ok(Page { manifests: None }) => self.note(format!("{place} holds no index")),
            Ok(page) => {
                self.add_page(page, place);
            }
            Err(error) => self.note(format!("{place} is not read: {error}")),
        }
    }

    /// Notes what is not read; the first of each kind is enough.
    pub(crate) fn note(&mut self, why: String) {
        if !self.unread.contains(&why) && self.unread.len() < 16 {
            self.unread.push(why);
        }
    }
}

impl Repository {
    /// Everything that refers to a manifest, or only artifacts of one type, in the order of their
    /// digests.
    ///
    /// # Errors
    /// When a list cannot be read, or not as a whole.
    pub async fn referrers(
        &self,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut listing = self.listed(digest, artifact_type).await?;
        if let Some(why) = listing.unread.pop() {
            let what = format!("the referrers of {}@{digest}", self.name());
            return Err(Error::Malformed { host: self.name().registry().to_owned(), what, why });
        }
        // Whether the registry filters or not, and the tag never does.
        let wanted = |one: &Descriptor| {
            artifact_type.is_none_or(|t| one.artifact_type.as_deref() == Some(t))
        };
        Ok(listing.referrers.into_values().filter(wanted).collect())
    }

    /// All places where signatures of an image may be.
    pub(crate) async fn listing(&self, digest: Digest) -> Result<Listing, Error> {
        let mut listing = self.listed(digest, None).await?;
        for kind in OLDER {
            match self.tagged(&format!("sha256-{}.{kind}", digest.hex())).await {
                Ok(manifest) => listing.older.push(manifest),
                Err(Error::NotFound { .. }) => {}
                Err(error) if error.is_of_content() => listing.note(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// What refers to a manifest, by the API and by the tag.
    pub(crate) async fn listed(
        &self,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        self.list(digest, artifact_type, &mut listing).await?;
        self.list_under_tag(digest, &mut listing).await?;
        Ok(listing)
    }

    /// The referrers API, page by page. A registry without it answers 404.
    async fn list(
        &self,
        digest: Digest,
        artifact_type: Option<&str>,
        listing: &mut Listing,
    ) -> Result<(), Error> {
        let what = format!("the referrers of {}@{digest}", self.name());
        let mut url = self.url(&format!("referrers/{digest}"))?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut seen = BTreeSet::<Url>::new();
        loop {
            let first = seen.is_empty();
            if !seen.insert(url.clone()) {
                return Err(circle(&url, &what));
            }
            if seen.len() > PAGES {
                listing.note(format!("the list of referrers has more than {PAGES} pages"));
                return Ok(());
            }
            let response = match self.get(url.clone(), &what, Some(INDEX), MANIFEST_CAP).await {
                Err(Error::NotFound { .. }) if first => return Ok(()),
                answer => answer?,
            };
            let page = read_json::<Page>(&response, &what)?;
            let empty = page.manifests.as_ref().is_none_or(Vec::is_empty);
            let added = listing.add_page(page, "the list of referrers");
            let Some(next) = self.next_page(&response, &what)? else { return Ok(()) };
            if listing.referrers.len() >= LISTED {
                return Ok(());
            }
            // A page may be empty where the registry filters, but not say again what was said.
            if added == 0 && !empty {
                return Err(circle(&url, &what));
            }
            url = next;
        }
    }

    /// The tag that stands in for the API (distribution specification, "Referrers Tag Schema").
    async fn list_under_tag(&self, digest: Digest, listing: &mut Listing) -> Result<(), Error> {
        let tag = fallback_tag(digest);
        match self.tagged_bytes(&tag).await {
            Ok(response) => listing.add_index(&response.body, &format!("the tag {tag}")),
            Err(Error::NotFound { .. }) => {}
            Err(error) if error.is_of_content() => listing.note(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The tag under which referrers of a manifest are listed where there is no API.
pub(crate) fn fallback_tag(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}

fn circle(url: &Url, what: &str) -> Error {
    let why = "its pages go in a circle".to_owned();
    Error::Malformed { host: host(url), what: what.to_owned(), why }
}
