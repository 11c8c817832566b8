//! Entries of Rekor v2 that the Sigstore project's verifier cannot read yet.
//!
//! Rekor v2 takes signatures by keys of many kinds, and cosign logs them there; version 0.15 of the
//! verifier reads only those by P-256 keys. The others are bound to their signature and proved to be
//! in the log here: the entry's digest, signature and key (Rekor's `hashedrekord` 0.0.2), its
//! inclusion under the checkpoint's root (RFC 6962, 2.1.1), and the log's signature of that.

use jiff::Timestamp;
use serde::Deserialize;
use sigstore_verify::crypto::{sha256, sha384, sha512};
use sigstore_verify::types::bundle::TransparencyLogEntry;
use sigstore_verify::types::{DerPublicKey, HashAlgorithm, KindVersion, SignatureBytes};

use crate::roots::Root;

#[derive(Deserialize)]
struct Body {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "hashedRekordV002")]
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    data: Data,
    signature: Signature,
}

#[derive(Deserialize)]
struct Data {
    algorithm: HashAlgorithm,
    digest: SignatureBytes,
}

#[derive(Deserialize)]
struct Signature {
    content: SignatureBytes,
    verifier: Verifier,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verifier {
    public_key: PublicKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    raw_bytes: DerPublicKey,
}

/// Whether an entry is of this form.
pub(crate) fn is_tile(entry: &TransparencyLogEntry) -> bool {
    entry.kind_version == KindVersion::HashedRekordV002
}

/// The id of the log that has this entry of this signature over these bytes by this key.
pub(crate) fn log_of(
    root: &Root,
    entry: &TransparencyLogEntry,
    key: &DerPublicKey,
    bytes: &[u8],
    signature: &SignatureBytes,
    now: Timestamp,
) -> Result<String, String> {
    let body: Body = serde_json::from_slice(entry.canonicalized_body.as_bytes())
        .map_err(|error| format!("a log entry cannot be read: {error}"))?;
    let Record { data, signature: logged } = body.spec.record;
    let digest = match data.algorithm {
        HashAlgorithm::Sha2256 => sha256(bytes).as_slice().to_vec(),
        HashAlgorithm::Sha2384 => sha384(bytes).as_slice().to_vec(),
        HashAlgorithm::Sha2512 => sha512(bytes).as_slice().to_vec(),
        other => return Err(format!("a log entry has a digest of kind {other}")),
    };
    let bound = data.digest.as_bytes() == digest
        && logged.content == *signature
        && logged.verifier.public_key.raw_bytes == *key;
    if !bound {
        return Err("log entry does not match the bundle's signature, key or content".to_owned());
    }
    let proof = entry.inclusion_proof.as_ref().ok_or("a log entry has no inclusion proof")?;
    let checkpoint = proof.checkpoint.checkpoint();
    let checkpoint = checkpoint.ok_or("a log entry's proof has no checkpoint")?;
    // What the proof says of index, size and root is not signed; the checkpoint is.
    sigstore_merkle::verify_inclusion_proof(
        &sigstore_merkle::hash_leaf(entry.canonicalized_body.as_bytes()),
        entry.log_index.get(),
        checkpoint.tree_size(),
        &proof.hashes,
        checkpoint.root_hash(),
    )
    .map_err(|error| format!("invalid inclusion proof: {error}"))?;
    root.signed(checkpoint, now)
        .ok_or_else(|| "invalid checkpoint: no log of the root signed it".into())
}
