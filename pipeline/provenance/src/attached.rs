//! What verification is given: the image, and what was found beside it, as it came.

use std::collections::BTreeMap;

use tidegate_ids::Digest;

use crate::ImageRef;

/// The image that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its canonical name and digest.
    pub image: ImageRef,
    /// The annotations of its own manifest or index, which its digest covers.
    pub annotations: BTreeMap<String, String>,
}

impl From<ImageRef> for Subject {
    fn from(image: ImageRef) -> Self {
        Self { image, annotations: BTreeMap::new() }
    }
}

/// One thing attached to an image. Whoever may push to the registry wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// A Sigstore bundle (an OCI referrer), as JSON.
    Bundle {
        /// The digest of these bytes: the name under which the registry has them.
        digest: Digest,
        /// The bytes.
        json: Vec<u8>,
    },
    /// A layer of the older `.sig` or `.att` tag (cosign's signature specification).
    Layer {
        /// The digest of the content.
        digest: Digest,
        /// Its media type: simple signing or a DSSE envelope.
        media_type: String,
        /// What was signed, or the envelope.
        content: Vec<u8>,
        /// Signature, certificate, chain and log bundle are in annotations.
        annotations: BTreeMap<String, String>,
    },
    /// Something attached that could not be read; a demand that is not met names it.
    Unreadable {
        /// The digest it is attached by.
        digest: Digest,
        /// Why not.
        why: String,
    },
}

impl Attached {
    /// A bundle by its bytes.
    #[must_use]
    pub fn bundle(json: Vec<u8>) -> Self {
        Self::Bundle { digest: Digest::of(&json), json }
    }
}
