//! Reading what is attached to an image: once, before anybody is asked for.
//!
//! A statement is an in-toto statement in a DSSE envelope; cosign 3 makes image signatures as such
//! (predicate type `sign/v1`). The older layout, whose payload names an image instead, is brought
//! into the same form by `legacy`. A bundle over plain bytes, even over the bytes of a manifest,
//! is nobody's statement about an image and is refused by name. Nothing here is trusted yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use sigstore_verify::types::bundle::{
    TimestampVerificationData, TransparencyLogEntry, VerificationMaterialContent,
};
use sigstore_verify::types::{
    Artifact, Bundle, Sha256Hash, SignatureBytes, SignatureContent, Statement, TimestampToken,
};
use tidegate_ids::Digest;

use crate::attached::Attached;
use crate::prove::Certified;
use crate::shortcoming::Shortcoming;

/// The predicate type of a signature; any other attestation is not one.
pub(crate) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPES: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

/// Everything attached to an image, read once.
pub(crate) struct Evidence {
    pub(crate) signed: Vec<Signed>,
    pub(crate) unusable: Vec<Shortcoming>,
}

/// Something that somebody signed, with what the signer brought as proof.
pub(crate) struct Signed {
    pub(crate) attached: Digest,
    pub(crate) bundle: Bundle,
    pub(crate) content: Content,
    /// Timestamps of the older layout's envelopes, which stamp their bytes and not the signature.
    pub(crate) stamps: Vec<(TimestampToken, SignatureBytes)>,
    /// What certificates proved, by trusted root: the same whoever is asked for.
    certified: Mutex<BTreeMap<Digest, Result<Certified, String>>>,
}

/// What was signed.
pub(crate) enum Content {
    /// A statement in a DSSE envelope.
    Statement {
        predicate_type: String,
        predicate: Value,
        subjects: BTreeSet<Digest>,
        /// The bytes under the signature (DSSE v1 PAE).
        pae: Vec<u8>,
    },
    /// The older layout's payload about one image.
    Payload { bytes: Vec<u8>, subject: Digest },
    /// Bytes that the bundle does not bring.
    Message,
}

impl Evidence {
    /// Reads everything; what cannot be read is kept as the reason why not.
    pub(crate) fn read(attached: &[Attached]) -> Self {
        let (mut signed, mut unusable) = (Vec::new(), Vec::new());
        for one in attached {
            let read = match one {
                Attached::Bundle { digest, json } => Signed::read(*digest, json),
                Attached::Layer { digest, media_type, content, annotations } => {
                    crate::legacy::read(*digest, media_type, content, annotations)
                }
                Attached::Unreadable { digest, why } => {
                    Err(Shortcoming::Unreadable { attached: *digest, why: why.clone() })
                }
            };
            match read {
                Ok(Signed { attached, content: Content::Message, .. }) => {
                    unusable.push(Shortcoming::Message { attached });
                }
                Ok(one) => signed.push(one),
                Err(shortcoming) => unusable.push(shortcoming),
            }
        }
        Self { signed, unusable }
    }
}

impl Signed {
    /// Reads a bundle (v0.1 to v0.3, JSON).
    pub(crate) fn read(attached: Digest, json: &[u8]) -> Result<Self, Shortcoming> {
        let malformed = |why: String| Shortcoming::Malformed { attached, why };
        let text = std::str::from_utf8(json).map_err(|error| malformed(error.to_string()))?;
        let bundle = Bundle::from_json(text).map_err(|error| malformed(error.to_string()))?;
        Self::new(attached, bundle)
    }

    /// Takes a bundle apart.
    pub(crate) fn new(attached: Digest, bundle: Bundle) -> Result<Self, Shortcoming> {
        let malformed = |why: String| Shortcoming::Malformed { attached, why };
        let content = match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                if envelope.payload_type != PAYLOAD_TYPE {
                    let payload_type = envelope.payload_type.clone();
                    return Err(Shortcoming::NotAStatement { attached, payload_type });
                }
                let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
                    .map_err(|error| malformed(format!("its statement cannot be read: {error}")))?;
                if !STATEMENT_TYPES.contains(&statement.type_.as_str()) {
                    return Err(malformed(format!("its statement is of type {}", statement.type_)));
                }
                let subjects = statement.subject.iter().filter_map(|one| one.digest.sha256);
                let subjects: BTreeSet<_> = subjects.filter_map(digest).collect();
                if subjects.is_empty() {
                    return Err(malformed("its statement is about no SHA-256 digest".to_owned()));
                }
                let Statement { predicate_type, predicate, .. } = statement;
                Content::Statement { predicate_type, predicate, subjects, pae: envelope.pae() }
            }
            SignatureContent::MessageSignature(_) => Content::Message,
            _ => return Err(malformed("it has a kind of signature that is not known".to_owned())),
        };
        Ok(Self {
            attached,
            bundle,
            content,
            stamps: Vec::new(),
            certified: Mutex::new(BTreeMap::new()),
        })
    }

    /// The older layout's payload, with its signature as a bundle.
    pub(crate) fn payload(attached: Digest, bundle: Bundle, bytes: Vec<u8>, of: Digest) -> Self {
        let content = Content::Payload { bytes, subject: of };
        let (stamps, certified) = (Vec::new(), Mutex::new(BTreeMap::new()));
        Self { attached, bundle, content, stamps, certified }
    }

    /// The same, its timestamps being over these bytes instead of the signature.
    pub(crate) fn stamped(mut self, bytes: &[u8]) -> Self {
        let data = &mut self.bundle.verification_material.timestamp_verification_data;
        let stamps = std::mem::replace(data, TimestampVerificationData::new(Vec::new()));
        let stamps = stamps.rfc3161_timestamps.into_iter();
        let bytes = SignatureBytes::from_bytes(bytes);
        self.stamps = stamps.map(|stamp| (stamp.signed_timestamp, bytes.clone())).collect();
        self
    }

    pub(crate) fn entries(&self) -> &[TransparencyLogEntry] {
        &self.bundle.verification_material.tlog_entries
    }

    pub(crate) fn signature(&self) -> Option<&SignatureBytes> {
        match &self.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => Some(&envelope.signature.sig),
            SignatureContent::MessageSignature(message) => Some(&message.signature),
            _ => None,
        }
    }

    /// The bytes under the signature, where the bundle or its layer brings them.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Statement { pae, .. } => Some(pae),
            Content::Payload { bytes, .. } => Some(bytes),
            Content::Message => None,
        }
    }

    /// What the verifier is to find under the signature. A statement is proved whatever it is
    /// about: `subjects` tells, and whoever uses it looks there.
    pub(crate) fn artifact(&self) -> Option<Artifact<'_>> {
        match &self.content {
            Content::Statement { subjects, .. } => subjects
                .first()
                .map(|digest| Artifact::from_digest(Sha256Hash::new(*digest.bytes()))),
            Content::Payload { bytes, .. } => Some(Artifact::from_blob(bytes)),
            Content::Message => None,
        }
    }

    /// Whether it was signed with a certificate.
    pub(crate) fn by_certificate(&self) -> bool {
        self.bundle.signing_certificate().is_some()
    }

    /// The fingerprint of the key that the bundle says it was signed with. A claim: it orders
    /// attempts and words refusals, and decides nothing.
    pub(crate) fn claimed_key(&self) -> Option<Digest> {
        match &self.bundle.verification_material.content {
            VerificationMaterialContent::PublicKey(key) => {
                Sha256Hash::from_base64(&key.hint).ok().and_then(digest)
            }
            _ => None,
        }
    }

    /// What certificates prove under one root, worked out once.
    pub(crate) fn certified(
        &self,
        root: Digest,
        work: impl FnOnce() -> Result<Certified, String>,
    ) -> Result<Certified, String> {
        let mut known = self.certified.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(root).or_insert_with(work).clone()
    }
}

fn digest(hash: Sha256Hash) -> Option<Digest> {
    format!("sha256:{}", hash.to_hex()).parse().ok()
}
