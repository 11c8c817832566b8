//! Signatures and statements beside an image, as raw material for whoever judges them.
//!
//! Whoever may push to a repository may attach anything, so nothing that is attached may keep the
//! rest from being read: what is broken, too large or too much becomes [`Found::Unreadable`] and
//! the reading goes on. That hides nothing: evidence only ever adds, a demand that is not met is
//! refused with these reasons, and who can push could as well delete. Which 64 are read does not
//! depend on the order of any list, and small content comes first, so that large content displaces
//! no signature. Only when nothing at all could be read because of the registry is it an error.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tidegate_ids::Digest;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::{Descriptor, Error, Images, Manifest};

/// Manifests of one image that are looked into.
const MANIFESTS: usize = 64;
/// Layers of one image that are read.
const LAYERS: usize = 256;
/// Bytes of all annotations of one manifest's layers: signatures, certificates, log entries.
const ANNOTATIONS_CAP: usize = 1 << 20;
const PAYLOAD_CAP: u64 = 1 << 20;
/// SBOMs are large.
const STATEMENT_CAP: u64 = 16 << 20;
const TOTAL_CAP: u64 = 64 << 20;
/// Requests for one image at a time.
const AT_ONCE: usize = 8;
const DEADLINE: Duration = Duration::from_mins(2);

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const COSIGN_STATEMENT: &str = "application/vnd.dev.cosign.artifact.att.v1+json";
/// Types that say nothing: some registries list the configuration's type for the artifact's.
const UNCLEAR: [&str; 4] = [
    "",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.in-toto+json",
];

/// One thing attached to an image. Whoever may push to the registry wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// A Sigstore bundle, as JSON.
    Bundle {
        /// Of these bytes.
        digest: Digest,
        /// The bytes.
        json: Vec<u8>,
    },
    /// A layer of cosign's older layout (its signature specification).
    Layer {
        /// Of the content.
        digest: Digest,
        /// Simple signing or a DSSE envelope.
        media_type: String,
        /// What was signed, or the envelope.
        content: Vec<u8>,
        /// Signature, certificate, chain, log bundle and timestamp.
        annotations: BTreeMap<String, String>,
    },
    /// Something that is attached and was not read.
    Unreadable {
        /// Its digest; the image's own, where it has none or stands for several.
        digest: Digest,
        /// Why not, as one sentence.
        why: String,
    },
}

/// How likely it is that an artifact holds signatures, judged by its type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relevance {
    Named,
    Unclear,
    None,
}

impl Relevance {
    pub(crate) const ALL: [Self; 3] = [Self::Named, Self::Unclear, Self::None];

    pub(crate) fn of(artifact_type: Option<&str>) -> Self {
        match artifact_type {
            None => Self::Unclear,
            Some(unclear) if UNCLEAR.contains(&unclear) => Self::Unclear,
            Some(SIMPLE_SIGNING | ENVELOPE | COSIGN_SIGNATURE | COSIGN_STATEMENT) => Self::Named,
            Some(named) if named.starts_with(BUNDLE) => Self::Named,
            Some(_) => Self::None,
        }
    }
}

/// The most bytes of a layer of this type; of a type that is not read, none.
fn cap(media_type: &str) -> Option<u64> {
    match media_type {
        SIMPLE_SIGNING => Some(PAYLOAD_CAP),
        ENVELOPE => Some(STATEMENT_CAP),
        bundle if bundle.starts_with(BUNDLE) => Some(STATEMENT_CAP),
        _ => None,
    }
}

/// Everything attached to an image that may be a signature or statement.
pub(crate) async fn attached(images: &Images, image: Digest) -> Result<Vec<Found>, Error> {
    let mut reading = Reading {
        images,
        image,
        deadline: Instant::now() + DEADLINE,
        layers: Vec::new(),
        found: Vec::new(),
        failed: None,
    };
    let what = || format!("what is attached to {image}");
    let listing = match timeout_at(reading.deadline, images.listing(image)).await {
        Ok(listing) => listing?,
        Err(_) => return Err(images.too_slow(what())),
    };
    let relevant = listing.relevant();
    for why in listing.unread {
        reading.unreadable(image, &why);
    }
    reading.referrers(relevant).await;
    for manifest in listing.older {
        reading.wanted(manifest, true);
    }
    reading.contents().await;
    reading.end()
}

struct Reading<'a> {
    images: &'a Images,
    image: Digest,
    deadline: Instant,
    layers: Vec<Descriptor>,
    found: Vec<Found>,
    /// The first failure that is the registry's own.
    failed: Option<Error>,
}

impl Reading<'_> {
    async fn referrers(&mut self, mut relevant: Vec<Digest>) {
        let beyond = relevant.len().saturating_sub(MANIFESTS);
        if beyond > 0 {
            relevant.truncate(MANIFESTS);
            let why = format!(
                "{beyond} more referrers may hold signatures, but at most {MANIFESTS} are read; \
                 remove those that are not needed"
            );
            self.unreadable(self.image, &why);
        }
        let (images, deadline) = (self.images, self.deadline);
        let read = relevant
            .into_iter()
            .map(async |digest| (digest, timeout_at(deadline, images.manifest(digest)).await));
        let mut read = stream::iter(read).buffered(AT_ONCE);
        while let Some((digest, read)) = read.next().await {
            if let Some(manifest) = self.taken(digest, read) {
                self.wanted(manifest, false);
            }
        }
    }

    /// What was read, or a note why it was not.
    fn taken<T>(&mut self, digest: Digest, read: Result<Result<T, Error>, Elapsed>) -> Option<T> {
        match read {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => {
                self.unreadable(digest, &error.to_string());
                if !error.is_of_content() {
                    self.failed.get_or_insert(error);
                }
            }
            Err(Elapsed { .. }) => {
                let seconds = DEADLINE.as_secs();
                let why = format!("it could not be read within {seconds} s for the whole image");
                self.unreadable(digest, &why);
                self.failed.get_or_insert_with(|| self.images.too_slow(digest.to_string()));
            }
        }
        None
    }

    /// Notes the layers of a manifest that are to be read; one by its tag needs no subject.
    fn wanted(&mut self, manifest: Manifest, by_tag: bool) {
        let subject = manifest.subject().map(|subject| subject.digest);
        if subject != Some(self.image) && !(by_tag && subject.is_none()) {
            let why = match subject {
                Some(other) => format!("it is listed for this image, but refers to {other}"),
                None => "it is listed for this image, but refers to none".to_owned(),
            };
            return self.unreadable(manifest.digest, &why);
        }
        let named = Relevance::of(manifest.artifact_type()) == Relevance::Named || by_tag;
        let digest = manifest.digest;
        let mut layers = manifest.parts.layers;
        layers.retain(|one| cap(&one.media_type).is_some());
        if named && layers.is_empty() {
            self.unreadable(digest, "no layer of it is a bundle, signature or envelope");
        }
        let notes = layers.iter().flat_map(|one| &one.annotations).map(|(k, v)| k.len() + v.len());
        if notes.sum::<usize>() > ANNOTATIONS_CAP {
            let why = format!("its layers have more than {ANNOTATIONS_CAP} bytes of annotations");
            return self.unreadable(digest, &why);
        }
        self.layers.append(&mut layers);
        self.small_ones();
    }

    /// Keeps as many layers as are read, the small ones.
    fn small_ones(&mut self) {
        self.layers.sort_by(|a, b| key(a).cmp(&key(b)));
        self.layers.dedup_by(|a, b| key(a) == key(b));
        if self.layers.len() > LAYERS {
            self.layers.truncate(LAYERS);
            let why = format!("more signatures are attached, but at most {LAYERS} are read");
            self.unreadable(self.image, &why);
        }
    }

    /// Reads the layers, small ones first.
    async fn contents(&mut self) {
        let layers = std::mem::take(&mut self.layers);
        // What is stated decides what is read, so that it does not depend on what comes first.
        let (mut left, mut fetched) = (TOTAL_CAP, Vec::new());
        for layer in layers {
            let cap = cap(&layer.media_type).unwrap_or_default();
            let why = if layer.size == 0 || layer.size > cap {
                format!("it states {} bytes, and 1 to {cap} are read", layer.size)
            } else if layer.size > left {
                format!("more than {TOTAL_CAP} bytes are attached to this image in all")
            } else {
                left -= layer.size;
                fetched.push(layer);
                continue;
            };
            self.unreadable(layer.digest, &why);
        }
        // Several signatures of one payload are one blob with several annotations.
        let mut blobs: Vec<_> = fetched.iter().map(|layer| (layer.size, layer.digest)).collect();
        blobs.dedup();
        let (images, deadline) = (self.images, self.deadline);
        let read = blobs.into_iter().map(async |(size, digest)| {
            let cap = usize::try_from(size).unwrap_or(usize::MAX);
            (size, digest, timeout_at(deadline, images.blob(digest, cap)).await)
        });
        let mut read = stream::iter(read).buffered(AT_ONCE);
        while let Some((size, digest, read)) = read.next().await {
            let Some(content) = self.taken(digest, read) else { continue };
            if content.len() as u64 != size {
                let why = format!("it has {} bytes where {size} are stated", content.len());
                self.unreadable(digest, &why);
                continue;
            }
            let of_it = |layer: &&Descriptor| (layer.size, layer.digest) == (size, digest);
            for layer in fetched.iter().filter(of_it) {
                self.take(layer.clone(), content.clone());
            }
        }
    }

    fn take(&mut self, layer: Descriptor, content: Vec<u8>) {
        let Descriptor { digest, media_type, annotations, .. } = layer;
        self.found.push(if media_type.starts_with(BUNDLE) {
            Found::Bundle { digest, json: content }
        } else {
            Found::Layer { digest, media_type, content, annotations }
        });
    }

    fn unreadable(&mut self, digest: Digest, why: &str) {
        self.found.push(Found::Unreadable { digest, why: plain(why) });
    }

    fn end(self) -> Result<Vec<Found>, Error> {
        let Self { mut found, failed, .. } = self;
        let nothing = found.iter().all(|one| matches!(one, Found::Unreadable { .. }));
        if let Some(error) = failed.filter(|_| nothing) {
            return Err(error);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

fn key(layer: &Descriptor) -> (u64, Digest, &str, &BTreeMap<String, String>) {
    (layer.size, layer.digest, &layer.media_type, &layer.annotations)
}

/// Words from outside, fit for a message: cut, and without control characters.
fn plain(text: &str) -> String {
    text.chars()
        .take(400)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_unicode());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
