//! Reading what is attached to an image.
//!
//! An image's signature is a Sigstore bundle with a DSSE envelope around an in-toto statement
//! whose predicate type is cosign's `sign/v1` (cosign 3, `signDigestBundle`). Everything else
//! that can be attached (attestations, certificates, plain message signatures, rubbish) is kept
//! apart by name, so that a refusal can say what was found. Nothing here is trusted yet.

use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{
    Bundle, DsseEnvelope, Sha256Hash, SignatureBytes, SignatureContent, Statement,
};
use tidegate_ids::Digest;

/// The predicate type of a signature; any other attestation is not one.
pub(crate) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPES: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

/// One bundle, by what it is.
pub(crate) enum Attached {
    /// A statement that may be a signature by a key.
    Signature(KeySignature),
    /// A statement with another predicate type.
    Attestation(String),
    /// Signed with a certificate.
    Certificate,
    /// A signature over bytes, not over a statement about an image.
    Message,
    /// Not a bundle that can be read.
    Malformed(String),
}

/// A statement about digests, and a signature over it by an unknown key.
pub(crate) struct KeySignature {
    signed_bytes: Vec<u8>,
    signature: SignatureBytes,
    /// The SHA-256 digests that the statement is about.
    pub(crate) subjects: Vec<Digest>,
    /// The fingerprint of the key that the bundle says it was signed with. Not authenticated.
    pub(crate) claimed_key: Option<Digest>,
}

impl KeySignature {
    /// The signature and the bytes it must have been made over (DSSE v1 PAE).
    pub(crate) fn signed(&self) -> (&[u8], &SignatureBytes) {
        (&self.signed_bytes, &self.signature)
    }
}

impl Attached {
    /// Sorts a bundle into its kind.
    pub(crate) fn read(json: &[u8]) -> Self {
        let parsed = std::str::from_utf8(json)
            .map_err(|error| error.to_string())
            .and_then(|text| Bundle::from_json(text).map_err(|error| error.to_string()));
        let bundle = match parsed {
            Ok(bundle) => bundle,
            Err(error) => return Self::Malformed(error),
        };
        let hint = match &bundle.verification_material.content {
            VerificationMaterialContent::PublicKey(key) => &key.hint,
            _ => return Self::Certificate,
        };
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => Self::statement(envelope, hint),
            _ => Self::Message,
        }
    }

    fn statement(envelope: &DsseEnvelope, hint: &str) -> Self {
        if envelope.payload_type != PAYLOAD_TYPE {
            return Self::Attestation(envelope.payload_type.clone());
        }
        let statement: Statement = match serde_json::from_slice(envelope.payload.as_bytes()) {
            Ok(statement) => statement,
            Err(error) => return Self::Malformed(format!("its statement cannot be read: {error}")),
        };
        if !STATEMENT_TYPES.contains(&statement.type_.as_str()) {
            return Self::Malformed(format!("its statement is of type {}", statement.type_));
        }
        if statement.predicate_type != SIGN_PREDICATE {
            return Self::Attestation(statement.predicate_type);
        }
        let subjects = statement.subject.iter().filter_map(|subject| subject.digest.sha256);
        Self::Signature(KeySignature {
            signed_bytes: envelope.pae(),
            signature: envelope.signature.sig.clone(),
            subjects: subjects.filter_map(digest).collect(),
            claimed_key: Sha256Hash::from_base64(hint).ok().and_then(digest),
        })
    }
}

fn digest(hash: Sha256Hash) -> Option<Digest> {
    format!("sha256:{}", hash.to_hex()).parse().ok()
}
