//! Putting something beside an image: a manifest that refers to it (OCI 1.1).
//!
//! The content goes up first, then the manifest that holds it, so that whoever sees the manifest
//! finds its content. A registry that keeps no list of referrers says so by leaving out
//! `OCI-Subject`; then the list is kept under the fallback tag, as the distribution specification
//! asks of clients. Such a list can be changed by two at once and the protocol has no lock, so it
//! is read again after it was written, until it holds what it must, and this process writes one at
//! a time. Entries of others stay. The same content again is the same manifest and makes no second entry.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tidegate_ids::Digest;

use crate::http::{Response, Write, host};
use crate::referrers::fallback_tag;
use crate::repository::MANIFEST_CAP;
use crate::{Error, Manifest, Repository};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_CONTENT: &[u8] = b"{}";
const OCTETS: &str = "application/octet-stream";
/// How often the list under the tag is read, changed and written.
const TRIES: usize = 8;
/// How long after a write of the list somebody else's may follow that knew nothing of it.
const SETTLES: Duration = Duration::from_millis(200);

/// What is to be put beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// What kind of artifact it is; readers filter by it.
    pub artifact_type: String,
    /// Notes on the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The type of the content.
    pub media_type: String,
    /// The content.
    pub content: Vec<u8>,
}

impl Referrer {
    /// The manifest that refers to the subject. Nothing in it differs from time to time.
    fn manifest(&self, subject: &Manifest) -> Vec<u8> {
        let mut config = descriptor(EMPTY, EMPTY_CONTENT);
        config["data"] = "e30=".into();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.artifact_type,
            "config": config,
            "layers": [descriptor(&self.media_type, &self.content)],
            "subject": descriptor(&subject.media_type, &subject.bytes),
            "annotations": self.annotations,
        });
        manifest.to_string().into_bytes()
    }
}

impl Repository {
    /// Puts something beside an image or index and gives the digest of the manifest that refers
    /// to it. The same again changes nothing and gives the same digest.
    ///
    /// # Errors
    /// When the subject is not there, or the registry does not take what is written.
    pub async fn push_referrer(
        &self,
        subject: Digest,
        referrer: &Referrer,
    ) -> Result<Digest, Error> {
        self.without_mirrors().put(subject, referrer).await
    }

    async fn put(&self, subject: Digest, referrer: &Referrer) -> Result<Digest, Error> {
        let subject = self.manifest(subject).await?;
        let bytes = referrer.manifest(&subject);
        let digest = Digest::of(&bytes);
        if self.is_listed(subject.digest, digest).await? {
            return Ok(digest);
        }
        self.push_blob(EMPTY_CONTENT).await?;
        self.push_blob(&referrer.content).await?;
        let what = format!("manifest {}@{digest}", self.name());
        let response = self.push_manifest(&digest.to_string(), MANIFEST, &bytes, &what).await?;
        if !response.headers.contains_key("oci-subject") {
            let entry = json!({
                "mediaType": MANIFEST,
                "digest": digest,
                "size": bytes.len(),
                "artifactType": referrer.artifact_type,
                "annotations": referrer.annotations,
            });
            self.list_by_tag(subject.digest, digest, &entry).await?;
        }
        Ok(digest)
    }

    /// Whether a list of referrers has it, and it is there.
    async fn is_listed(&self, subject: Digest, digest: Digest) -> Result<bool, Error> {
        let listing = self.listed(subject, None).await?;
        if !listing.has(digest) {
            return Ok(false);
        }
        match self.manifest(digest).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob in one piece (distribution specification, "POST then PUT").
    async fn push_blob(&self, content: &[u8]) -> Result<(), Error> {
        let digest = Digest::of(content);
        let what = format!("blob {}@{digest}", self.name());
        let write =
            |method, body: &[u8]| Write { method, media_type: OCTETS.into(), body: body.into() };
        let url = self.url(&format!("blobs/{digest}"))?;
        match self.write(url, &what, || write(Method::HEAD, &[])).await {
            Err(Error::NotFound { .. }) => {}
            there => return there.map(|_| ()),
        }
        let start = self.url("blobs/uploads/")?;
        let response = self.write(start, &what, || write(Method::POST, &[])).await?;
        let mut place = upload_place(&response, &what)?;
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        self.write(place, &what, || write(Method::PUT, content)).await.map(|_| ())
    }

    async fn push_manifest(
        &self,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
        what: &str,
    ) -> Result<Response, Error> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let put =
            || Write { method: Method::PUT, media_type: media_type.into(), body: bytes.into() };
        self.write(url, what, put).await
    }

    /// Adds an entry to the list under the fallback tag.
    async fn list_by_tag(
        &self,
        subject: Digest,
        digest: Digest,
        entry: &Value,
    ) -> Result<(), Error> {
        let tag = fallback_tag(subject);
        let what = format!("{}:{tag}", self.name());
        let malformed = |why: &str| Error::Malformed {
            host: self.name().registry().to_owned(),
            what: what.clone(),
            why: why.to_owned(),
        };
        let _one_at_a_time = self.tag_writes.lock().await;
        for _ in 0..TRIES {
            let mut index = match self.tagged_bytes(&tag).await {
                Ok(response) => serde_json::from_slice(&response.body)
                    .map_err(|error| malformed(&error.to_string()))?,
                Err(Error::NotFound { .. }) => {
                    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
                }
                Err(error) => return Err(error),
            };
            // What is no index is left alone: it may be somebody's image.
            let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
            let entries = entries.ok_or_else(|| malformed("what has this tag is not an index"))?;
            let known = |one: &Value| one["digest"].as_str() == Some(&digest.to_string());
            if entries.iter().any(known) {
                return Ok(());
            }
            entries.push(entry.clone());
            let bytes = index.to_string().into_bytes();
            if bytes.len() > MANIFEST_CAP {
                let host = self.name().registry().to_owned();
                let limit = format!("{MANIFEST_CAP} bytes");
                return Err(Error::TooLarge { host, what, limit });
            }
            self.push_manifest(&tag, INDEX, &bytes, &what).await?;
            // Whoever read the list before it was written may write theirs now.
            tokio::time::sleep(SETTLES).await;
        }
        Err(malformed("what is written to it does not stay: others write to it all the time"))
    }
}

/// Where an upload goes on: the same host, since it gets the credentials.
fn upload_place(response: &Response, what: &str) -> Result<Url, Error> {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let place = location.and_then(|location| response.url.join(location).ok());
    let place = place.ok_or_else(|| Error::Malformed {
        host: host(&response.url),
        what: what.to_owned(),
        why: "it names no place for the upload".to_owned(),
    })?;
    if place.origin() == response.url.origin() {
        return Ok(place);
    }
    Err(Error::Refused {
        what: what.to_owned(),
        url: format!("{}://{}{}", place.scheme(), host(&place), place.path()),
        why: "an upload must go on at the same registry",
    })
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()})
}
