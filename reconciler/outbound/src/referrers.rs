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
const LISTED_BYTES: usize = 64 << 20;
const PAGES: usize = 100;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The tags of cosign's older layout that hold something signed.
pub(crate) const OLDER: [&str; 2] = ["sig", "att"];

/// Where an image's signatures and statements may be.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Each once, the likeliest first.
    referrers: BTreeMap<(Relevance, Digest), Descriptor>,
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
    fn add_page(&mut self, page: Page, place: &str) {
        for entry in page.manifests.unwrap_or_default() {
            match serde_json::from_value::<Descriptor>(entry) {
                Ok(one) => self.add(one, place),
                Err(error) => self.note(format!("an entry of {place} is not read: {error}")),
            }
        }
    }

    /// Adds one entry. No entry talks another of the same digest out of being read, and when there
    /// are too many, those go that are of another kind.
    pub(crate) fn add(&mut self, one: Descriptor, place: &str) {
        let relevance = Relevance::of(one.artifact_type.as_deref());
        let known = Relevance::ALL.into_iter().find(|it| self.has_as(*it, one.digest));
        if known.is_some_and(|known| known <= relevance) {
            return;
        }
        if let Some(known) = known {
            self.referrers.remove(&(known, one.digest));
        }
        self.referrers.insert((relevance, one.digest), one);
        if self.referrers.len() > LISTED {
            self.referrers.pop_last();
            self.note(format!("{place} has more than {LISTED} entries; not all are kept"));
        }
    }

    fn has_as(&self, relevance: Relevance, digest: Digest) -> bool {
        self.referrers.contains_key(&(relevance, digest))
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        Relevance::ALL.into_iter().any(|relevance| self.has_as(relevance, digest))
    }

    /// The referrers that may hold signatures, the likeliest first.
    pub(crate) fn relevant(&self) -> Vec<Digest> {
        let relevant = self.referrers.keys().filter(|(it, _)| *it != Relevance::None);
        relevant.map(|(_, digest)| *digest).collect()
    }

    fn is_empty(&self) -> bool {
        self.older.is_empty() && self.relevant().is_empty()
    }

    fn merge(&mut self, other: Self) {
        for one in other.referrers.into_values() {
            self.add(one, "the lists together");
        }
        self.older.extend(other.older);
        for why in other.unread {
            self.note(why);
        }
    }

    /// Adds the entries of an index that stands in for the API.
    pub(crate) fn add_index(&mut self, bytes: &[u8], place: &str) {
        match serde_json::from_slice::<Page>(bytes) {
            Ok(Page { manifests: None }) => self.note(format!("{place} holds no index")),
            Ok(page) => self.add_page(page, place),
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
        let mut found: Vec<_> = listing.referrers.into_values().filter(wanted).collect();
        found.sort_unstable_by_key(|one| one.digest);
        Ok(found)
    }

    /// Where signatures of an image may be. A mirror that has none may only not have them yet, so
    /// that the next place is asked, too.
    pub(crate) async fn listing(&self, digest: Digest) -> Result<Listing, Error> {
        let (mut listing, mut failed, mut answered) = (Listing::default(), None, false);
        for place in self.places() {
            match place.listing_here(digest).await {
                Ok(here) => {
                    answered = true;
                    listing.merge(here);
                }
                Err(error) => failed = Some(error),
            }
            if !listing.is_empty() {
                return Ok(listing);
            }
        }
        // Nothing was found: that is an answer only where each place gave one.
        match failed {
            Some(error) => Err(error),
            None if answered => Ok(listing),
            None => Err(Error::Name { text: self.name().to_string(), why: "it has no place" }),
        }
    }

    async fn listing_here(&self, digest: Digest) -> Result<Listing, Error> {
        let [sig, att] = OLDER;
        let (listed, sig, att) = tokio::join!(
            self.listed(digest, None),
            self.older(digest, sig),
            self.older(digest, att)
        );
        let mut listing = listed?;
        listing.merge(sig?);
        listing.merge(att?);
        Ok(listing)
    }

    /// What refers to a manifest, by the API and by the tag.
    pub(crate) async fn listed(
        &self,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Listing, Error> {
        let (by_api, by_tag) =
            tokio::join!(self.list(digest, artifact_type), self.list_under_tag(digest));
        let mut listing = by_api?;
        listing.merge(by_tag?);
        Ok(listing)
    }

    async fn older(&self, digest: Digest, kind: &str) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        match self.tagged(&format!("{}.{kind}", fallback_tag(digest))).await {
            Ok(manifest) => listing.older.push(manifest),
            Err(Error::NotFound { .. }) => {}
            Err(error) if error.is_of_content() => listing.note(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(listing)
    }

    /// The referrers API, page by page. A registry without it answers 404.
    async fn list(&self, digest: Digest, artifact_type: Option<&str>) -> Result<Listing, Error> {
        let what = format!("the referrers of {}@{digest}", self.name());
        let mut url = self.url(&format!("referrers/{digest}"))?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut listing = Listing::default();
        let (mut asked, mut said) = (BTreeSet::<Url>::new(), BTreeSet::<Digest>::new());
        let mut bytes = 0;
        while asked.len() < PAGES && bytes < LISTED_BYTES {
            let response = match self.get(url.clone(), &what, Some(INDEX), MANIFEST_CAP).await {
                Err(Error::NotFound { .. }) if asked.is_empty() => return Ok(listing),
                // Entries carry the notes of whoever pushed them, so that they can be made large.
                Err(error @ Error::TooLarge { .. }) => {
                    listing.note(error.to_string());
                    return Ok(listing);
                }
                answer => answer?,
            };
            bytes += response.body.len();
            let page = read_json::<Page>(&response, &what)?;
            // A page may be empty where the registry filters, but not say again what was said.
            let empty = page.manifests.as_ref().is_none_or(Vec::is_empty);
            let again = !said.insert(Digest::of(&response.body)) && !empty;
            asked.insert(url);
            listing.add_page(page, "the list of referrers");
            let Some(next) = self.next_page(&response, &what)? else { return Ok(listing) };
            if again || asked.contains(&next) {
                let why = "its pages go in a circle".to_owned();
                return Err(Error::Malformed { host: host(&response.url), what, why });
            }
            url = next;
        }
        listing.note(format!(
            "the list of referrers has more than {PAGES} pages or {LISTED_BYTES} bytes"
        ));
        Ok(listing)
    }

    /// The tag that stands in for the API (distribution specification, "Referrers Tag Schema").
    async fn list_under_tag(&self, digest: Digest) -> Result<Listing, Error> {
        let (tag, mut listing) = (fallback_tag(digest), Listing::default());
        match self.tagged_bytes(&tag).await {
            Ok(response) => listing.add_index(&response.body, &format!("the tag {tag}")),
            Err(Error::NotFound { .. }) => {}
            Err(error) if error.is_of_content() => listing.note(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(listing)
    }
}

/// The tag under which referrers of a manifest are listed where there is no API.
pub(crate) fn fallback_tag(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}
