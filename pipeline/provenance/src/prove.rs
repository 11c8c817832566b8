//! Who made what is attached, proved.
//!
//! What a signer brought as proof has to be right, whether or not it was asked for: a bundle with
//! a bad log entry or a bad timestamp is no proof even where `log: none` is said, since a form
//! that fails is never passed over for a lesser one. What no root of the policy could check counts
//! for nothing: a key with `log: none` and a policy without roots stand on the signature alone.
//!
//! Certificates, signed certificate timestamps, log entries and stamps are verified by the
//! Sigstore project's verifier. It tells neither which log nor which timestamp authority, and
//! takes an entry without proof if another has one; that is looked up in `roots`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sigstore_verify::crypto::CertificateInfo;
use sigstore_verify::types::Artifact as Bytes;
use sigstore_verify::types::{SignatureBytes, TimestampToken};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy};
use tidegate_ids::Digest;
use tidegate_schemas::Log;

use crate::authority::{Authority, Key, Who};
use crate::bundle::{Content, Evidence, SIGN_PREDICATE, Signed};
use crate::identity::Identity;
use crate::proof::Proved;
use crate::roots::{Root, Roots};
use crate::shortcoming::Shortcoming;
use crate::tile::is_tile;
use crate::verdict::{Signer, SignerIdentity};

/// How far the clocks of logs and timestamp authorities may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What somebody made, and why the rest is not theirs.
pub(crate) struct Proofs {
    pub(crate) proved: Vec<Proved>,
    pub(crate) shortcomings: Vec<Shortcoming>,
}

/// Which logs and timestamp authorities vouch for a signature, and when it was made by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witnessed {
    logs: BTreeSet<String>,
    timestamps: BTreeSet<String>,
    times: Vec<Timestamp>,
}

/// A certificate that holds under one root, and what vouches for the signature.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    certificate: std::sync::Arc<CertificateInfo>,
    witnessed: Witnessed,
}

impl Evidence {
    /// Everything this authority made and that can be proved, and why the rest cannot.
    pub(crate) fn by(&self, authority: &Authority, roots: &Roots, now: Timestamp) -> Proofs {
        let mut shortcomings = self.unusable.clone();
        let mut proved = Vec::new();
        for signed in &self.signed {
            let proof = signed
                .artifact()
                .ok_or(Shortcoming::Message { attached: signed.attached })
                .and_then(|artifact| prove(signed, &artifact, authority, roots, now));
            match proof {
                Ok((maker, witnessed)) => proved.extend(as_proved(signed, maker, witnessed)),
                Err(shortcoming) => shortcomings.push(shortcoming),
            }
        }
        Proofs { proved, shortcomings }
    }
}

/// Bytes, or the digest of bytes, that a bundle is to be about.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// Their SHA-256.
    Digest(Digest),
}

/// Who signed a bundle about an artifact, by the same proof that images stand on. Bundles over
/// plain bytes count here; for images they do not.
///
/// # Errors
/// Why it is not proved that the authority signed this artifact.
pub fn verify_bundle(
    json: &[u8],
    artifact: Artifact<'_>,
    authority: &Authority,
    roots: &Roots,
    now: Timestamp,
) -> Result<Signer, Shortcoming> {
    let signed = Signed::read(Digest::of(json), json)?;
    let (bytes, digest) = match artifact {
        Artifact::Bytes(bytes) => (Bytes::from_blob(bytes), Digest::of(bytes)),
        Artifact::Digest(digest) => (sha256(digest), digest),
    };
    if let Content::Statement { subjects, .. } = &signed.content
        && !subjects.contains(&digest)
    {
        let signed = subjects.clone();
        return Err(Shortcoming::OtherSubject { attached: Digest::of(json), signed, digest });
    }
    prove(&signed, &bytes, authority, roots, now).map(|(signer, _)| signer)
}

fn sha256(digest: Digest) -> Bytes<'static> {
    Bytes::from_digest(sigstore_verify::types::Sha256Hash::new(*digest.bytes()))
}

fn as_proved(read: &Signed, signer: Signer, witnessed: Witnessed) -> Option<Proved> {
    let (subjects, predicate_type, predicate) = match &read.content {
        Content::Statement { predicate_type, predicate, subjects, .. } => {
            (subjects.clone(), predicate_type.clone(), predicate.clone())
        }
        Content::Payload { subject, .. } => {
            (BTreeSet::from([*subject]), SIGN_PREDICATE.to_owned(), serde_json::Value::Null)
        }
        Content::Message => return None,
    };
    let Witnessed { logs, timestamps, times } = witnessed;
    let attached = read.attached;
    Some(Proved { attached, signer, subjects, predicate_type, predicate, logs, timestamps, times })
}

/// Whether the authority made this signature over this artifact.
fn prove(
    signed: &Signed,
    artifact: &Bytes<'_>,
    authority: &Authority,
    roots: &Roots,
    now: Timestamp,
) -> Result<(Signer, Witnessed), Shortcoming> {
    let attached = signed.attached;
    let (maker, witnessed) = match &authority.who {
        Who::Key(key) => {
            let witnessed = by_key(signed, artifact, authority, key, roots, now)?;
            in_window(attached, authority, key, &witnessed, now)?;
            let fingerprint = authority.fingerprint();
            (Signer { name: authority.name().to_owned(), fingerprint, identity: None }, witnessed)
        }
        Who::Keyless(identity) => by_identity(signed, artifact, authority, identity, roots)?,
    };
    match witnessed.times.iter().find(|time| **time > now + AHEAD) {
        Some(at) => Err(Shortcoming::Future { attached, at: *at }),
        None => Ok((maker, witnessed)),
    }
}

fn by_key(
    signed: &Signed,
    artifact: &Bytes<'_>,
    authority: &Authority,
    key: &Key,
    roots: &Roots,
    now: Timestamp,
) -> Result<Witnessed, Shortcoming> {
    let (attached, name) = (signed.attached, || authority.name().to_owned());
    let claimed = signed.claimed_key();
    let other = || {
        if key.is_ed25519() && claimed == Some(authority.fingerprint()) {
            return Shortcoming::NotPureEd25519 { attached, authority: name() };
        }
        Shortcoming::OtherKey { attached, claimed, authority: name() }
    };
    if signed.by_certificate() {
        return Err(Shortcoming::ByCertificate { attached, authority: name() });
    }
    let by_log = !signed.entries().is_empty() && !roots.is_empty();
    // A bundle that names this key is first given to the verifier, which checks the signature
    // too; the claim saves one check and decides nothing.
    let by_tiles = by_log && !key.is_p256() && signed.entries().iter().all(is_tile);
    let first = by_log && !by_tiles && claimed == Some(authority.fingerprint());
    if !first && !made(signed, artifact, key) {
        return Err(other());
    }
    if !by_log && key.log == Log::Required {
        return Err(if roots.is_empty() {
            Shortcoming::NoRoots { attached, authority: name() }
        } else {
            Shortcoming::NoLogEntry { attached, authority: name() }
        });
    }
    if roots.is_empty() || !by_log && stamps(signed).next().is_none() {
        return Ok(Witnessed::default());
    }
    let mut under = Vec::new();
    for root in roots.iter() {
        let witnessed = if by_tiles {
            tiled(root, signed, artifact, key, now)
        } else if by_log {
            let policy = PublicKeyVerificationPolicy::new(key.spki.clone());
            let result = root.verifier.verify(artifact.clone(), &signed.bundle, &policy);
            result
                .map_err(|error| error.to_string())
                .and_then(|result| witnessed(root, signed, result.verified_timestamps()))
        } else {
            stamped(root, signed)
        };
        match witnessed {
            Ok(witnessed) => return Ok(witnessed),
            Err(why) => under.push((root.name().to_owned(), why)),
        }
    }
    if first && !made(signed, artifact, key) {
        return Err(other());
    }
    Err(Shortcoming::NotProved { attached, authority: name(), under })
}

/// Whether the key made the signature, whatever else the bundle brings.
fn made(signed: &Signed, artifact: &Bytes<'_>, key: &Key) -> bool {
    let Some(signature) = signed.signature() else { return false };
    match (signed.bytes(), artifact) {
        (Some(bytes), _) => key.signed(bytes, signature),
        (None, Bytes::Blob(bytes)) => key.signed(bytes, signature),
        (None, Bytes::Digest(digest)) => key.signed_digest(digest, signature),
        (None, _) => false,
    }
}

/// Who vouches for a signature in logs of Rekor v2 by a key that the verifier knows no entries of.
/// That the key made the signature is checked before.
fn tiled(
    root: &Root,
    signed: &Signed,
    artifact: &Bytes<'_>,
    key: &Key,
    now: Timestamp,
) -> Result<Witnessed, String> {
    let bytes =
        signed.bytes().or(artifact.blob()).ok_or("the bytes that were signed are needed")?;
    let signature = signed.signature().ok_or("it has no signature")?;
    let mut witnessed = stamped(root, signed)?;
    for entry in signed.entries() {
        let log = crate::tile::log_of(root, entry, &key.spki, bytes, signature, now)?;
        witnessed.logs.insert(log);
    }
    Ok(witnessed)
}

/// A signature without a trusted time was made at any time until now: it counts only now.
fn in_window(
    attached: Digest,
    authority: &Authority,
    key: &Key,
    witnessed: &Witnessed,
    now: Timestamp,
) -> Result<(), Shortcoming> {
    let proved = !witnessed.times.is_empty();
    let times = if proved { witnessed.times.as_slice() } else { std::slice::from_ref(&now) };
    for at in times.iter().copied() {
        if let Some((early, edge)) = key.valid.missed_by(at) {
            let authority = authority.name().to_owned();
            return Err(Shortcoming::OutsideWindow {
                attached,
                authority,
                at,
                proved,
                early,
                edge,
            });
        }
    }
    Ok(())
}

fn by_identity(
    signed: &Signed,
    artifact: &Bytes<'_>,
    authority: &Authority,
    identity: &Identity,
    roots: &Roots,
) -> Result<(Signer, Witnessed), Shortcoming> {
    let (attached, name) = (signed.attached, authority.name().to_owned());
    if !signed.by_certificate() {
        return Err(Shortcoming::ByKey { attached, authority: name });
    }
    if roots.is_empty() {
        return Err(Shortcoming::NoRoots { attached, authority: name });
    }
    let mut under = Vec::new();
    for root in roots.iter() {
        match signed.certified(root.digest(), || certify(root, signed, artifact)) {
            Ok(Certified { certificate, witnessed }) => {
                let stated = certificate.identity.as_ref();
                let subject = stated.map_or_else(String::new, ToString::to_string);
                if let Err(why) = identity.accepts(&certificate) {
                    let authority = name;
                    let why = Box::new(why);
                    return Err(Shortcoming::OtherIdentity { attached, subject, authority, why });
                }
                let issuer = certificate.issuer.clone().unwrap_or_default();
                let fingerprint = Digest::of(certificate.public_key.as_bytes());
                let identity = Some(SignerIdentity { issuer, subject });
                return Ok((Signer { name, fingerprint, identity }, witnessed));
            }
            Err(why) => under.push((root.name().to_owned(), why)),
        }
    }
    Err(Shortcoming::NotProved { attached, authority: name, under })
}

/// All of a bundle with a certificate under one root, whoever signed. A root that describes no
/// certificate transparency log belongs to an instance that has none.
fn certify(root: &Root, signed: &Signed, artifact: &Bytes<'_>) -> Result<Certified, String> {
    let mut policy = VerificationPolicy::any_identity();
    if !root.logs_certificates() {
        policy = policy.skip_sct();
    }
    let verified = root.verifier.verify(artifact.clone(), &signed.bundle, &policy);
    let result = verified.map_err(|error| error.to_string())?;
    let certificate = result.certificate().filter(|_| result.certificate_verified());
    let certificate = certificate.ok_or("its certificate was not verified")?;
    let witnessed = witnessed(root, signed, result.verified_timestamps())?;
    if witnessed.logs.is_empty() {
        return Err("it is in no transparency log".to_owned());
    }
    let valid = certificate.not_before..=certificate.not_after;
    match witnessed.times.iter().find(|time| !valid.contains(*time)) {
        Some(at) => Err(format!("its certificate was not valid at {at}")),
        None if witnessed.times.is_empty() => Err("nothing proves when it was signed".to_owned()),
        None => Ok(Certified { certificate: certificate.clone().into(), witnessed }),
    }
}

/// Who vouches for a bundle that the root's verifier accepted, with the times that it verified.
fn witnessed(root: &Root, signed: &Signed, times: &[Timestamp]) -> Result<Witnessed, String> {
    let logs = signed.entries().iter().map(|entry| root.log_of(entry));
    let logs = logs.collect::<Result<_, _>>()?;
    let only = root.only_stamper().filter(|_| signed.stamps.is_empty());
    let mut witnessed = match only {
        Some(only) if stamps(signed).next().is_some() => {
            Witnessed { timestamps: BTreeSet::from([only.to_owned()]), ..Witnessed::default() }
        }
        _ => stamped(root, signed)?,
    };
    witnessed.logs = logs;
    witnessed.times.extend(times);
    witnessed.times.sort();
    witnessed.times.dedup();
    Ok(witnessed)
}

/// Who stamped, and when; every stamp has to be right.
fn stamped(root: &Root, signed: &Signed) -> Result<Witnessed, String> {
    let mut witnessed = Witnessed::default();
    for (token, bytes) in stamps(signed) {
        let (name, time) = root.stamp(token, bytes)?;
        witnessed.timestamps.insert(name.to_owned());
        witnessed.times.push(time);
    }
    Ok(witnessed)
}

/// Every timestamp, and what it must be over.
fn stamps(signed: &Signed) -> impl Iterator<Item = (&TimestampToken, &SignatureBytes)> {
    let inside = &signed.bundle.verification_material.timestamp_verification_data;
    let inside = inside.rfc3161_timestamps.iter().map(|stamp| &stamp.signed_timestamp);
    let inside = inside.filter_map(|stamp| signed.signature().map(|signature| (stamp, signature)));
    inside.chain(signed.stamps.iter().map(|(stamp, bytes)| (stamp, bytes)))
}

#[cfg(test)]
mod tests;
