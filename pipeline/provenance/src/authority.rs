//! Somebody whose statements count: the holder of a key, or an identity.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sigstore_verify::crypto::{
    KeyAlgorithm, SigningScheme, VerificationKey, validate_raw_public_key,
};
use sigstore_verify::types::{ArtifactDigest, DerPublicKey, SignatureBytes};
use tidegate_ids::Digest;
use tidegate_schemas::{KeylessAuthority, Log};

use crate::Error;
use crate::identity::Identity;

/// Somebody whose statements count.
#[derive(Clone)]
pub struct Authority {
    name: String,
    fingerprint: Digest,
    pub(crate) who: Who,
    /// Of all that is asked of it.
    demands: Digest,
}

#[derive(Clone)]
pub(crate) enum Who {
    Key(Arc<Key>),
    Keyless(Arc<Identity>),
}

/// A public key, and what is asked of signatures by it.
pub(crate) struct Key {
    pub(crate) spki: DerPublicKey,
    /// One for each way in which its algorithm signs; the usual one first.
    schemes: Vec<VerificationKey>,
    pub(crate) log: Log,
    pub(crate) valid: Window,
}

/// From when until when signatures count; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl Authority {
    /// The holder of this public key (PEM, `SubjectPublicKeyInfo`; ECDSA P-256 or P-384, Ed25519,
    /// or RSA of 2048 bits and more). A signature counts when it was made between the two times,
    /// as logs and timestamp authorities prove it, or by the clock where none does.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not such a key, or no time lies between the two.
    pub fn key(
        name: &str,
        pem: &str,
        log: Log,
        valid_from: Option<Timestamp>,
        valid_until: Option<Timestamp>,
    ) -> Result<Self, Error> {
        let wrong = |why: String| Error::Key { key: name.to_owned(), why };
        let spki = DerPublicKey::from_pem(pem.trim()).map_err(|error| wrong(error.to_string()))?;
        let algorithm = KeyAlgorithm::from_spki(&spki).map_err(|error| wrong(error.to_string()))?;
        let schemes = schemes(algorithm).iter().map(|scheme| {
            let key = VerificationKey::from_spki_with_scheme(&spki, *scheme)?;
            validate_raw_public_key(*scheme, key.as_bytes())?;
            Ok(key)
        });
        let schemes: Vec<_> = schemes
            .collect::<Result<_, sigstore_verify::crypto::Error>>()
            .map_err(|error| wrong(error.to_string()))?;
        if schemes.is_empty() {
            return Err(wrong(format!("it is a {algorithm:?} key")));
        }
        if valid_from.zip(valid_until).is_some_and(|(from, until)| from >= until) {
            return Err(wrong("validFrom is not before validUntil".to_owned()));
        }
        let valid = Window { from: valid_from, until: valid_until };
        let fingerprint = Digest::of(spki.as_bytes());
        let who = Who::Key(Arc::new(Key { spki, schemes, log, valid }));
        Ok(Self::new(name.to_owned(), fingerprint, who))
    }

    /// Whoever proved this identity to a certificate authority.
    ///
    /// # Errors
    /// [`Error::Identity`] when something asked for is empty, or can never or always match.
    pub fn keyless(stated: &KeylessAuthority) -> Result<Self, Error> {
        let identity = Identity::new(stated)?;
        let name = identity.name();
        let fingerprint = Digest::of(identity.canonical().to_string().as_bytes());
        let who = Who::Keyless(Arc::new(identity));
        Ok(Self::new(name, fingerprint, who))
    }

    fn new(name: String, fingerprint: Digest, who: Who) -> Self {
        let demands = Digest::of(canonical(&name, fingerprint, &who).to_string().as_bytes());
        Self { name, fingerprint, who, demands }
    }

    /// The same authority, a key called by its fingerprint.
    #[must_use]
    pub fn named_by_fingerprint(self) -> Self {
        Self::new(format!("key {}", self.fingerprint()), self.fingerprint, self.who)
    }

    /// The name people know it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of a key's `SubjectPublicKeyInfo`, as cosign puts it into bundles as a hint; of
    /// an identity, a digest of all that is asked for.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The time from which its signatures count.
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        match &self.who {
            Who::Key(key) => key.valid.from,
            Who::Keyless(_) => None,
        }
    }

    /// The time after which its signatures without a trusted time no longer count.
    #[must_use]
    pub fn valid_until(&self) -> Option<Timestamp> {
        match &self.who {
            Who::Key(key) => key.valid.until,
            Who::Keyless(_) => None,
        }
    }

    /// All that is asked of it, for digests over policies.
    pub(crate) fn canonical(&self) -> Value {
        canonical(&self.name, self.fingerprint, &self.who)
    }

    /// The digest of all that is asked of it.
    pub(crate) const fn demands(&self) -> Digest {
        self.demands
    }
}

fn canonical(name: &str, fingerprint: Digest, who: &Who) -> Value {
    match who {
        Who::Key(key) => json!({"name": name, "key": {
            "fingerprint": fingerprint.to_string(),
            "log": key.log == Log::Required,
            "from": key.valid.from.map(|time| time.to_string()),
            "until": key.valid.until.map(|time| time.to_string()),
        }}),
        Who::Keyless(identity) => json!({"name": name, "keyless": identity.canonical()}),
    }
}

impl Key {
    /// Whether this key made the signature over these bytes, in any way its algorithm signs. What
    /// a signature says of its own scheme is a claim, and none of these is weaker.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &SignatureBytes) -> bool {
        self.schemes.iter().any(|key| key.verify(bytes, signature).is_ok())
    }

    /// Whether it is of the kind whose log entries the Sigstore project's verifier reads, of
    /// either version of Rekor.
    pub(crate) fn is_p256(&self) -> bool {
        self.schemes.iter().any(|key| key.scheme() == SigningScheme::EcdsaP256Sha256)
    }

    /// Whether it signs as Ed25519.
    pub(crate) fn is_ed25519(&self) -> bool {
        self.schemes.iter().any(|key| key.scheme() == SigningScheme::Ed25519)
    }

    /// The same for bytes of which only the digest is there; never for Ed25519, which signs bytes.
    pub(crate) fn signed_digest(&self, digest: &ArtifactDigest, by: &SignatureBytes) -> bool {
        let fits =
            |key: &&VerificationKey| key.scheme().hash_algorithm() == Some(digest.algorithm());
        let mut keys = self.schemes.iter().filter(fits);
        keys.any(|key| key.verify_prehashed(digest.as_bytes(), by).is_ok())
    }
}

impl Window {
    /// Which end a time misses, if any: whether it is too early, and that end.
    pub(crate) fn missed_by(&self, time: Timestamp) -> Option<(bool, Timestamp)> {
        let early = self.from.filter(|from| time < *from).map(|from| (true, from));
        early.or(self.until.filter(|until| time > *until).map(|until| (false, until)))
    }
}

const fn schemes(algorithm: KeyAlgorithm) -> &'static [SigningScheme] {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => {
            &[SigningScheme::EcdsaP256Sha256, SigningScheme::EcdsaP256Sha384]
        }
        KeyAlgorithm::EcdsaP384 => {
            &[SigningScheme::EcdsaP384Sha384, SigningScheme::EcdsaP384Sha256]
        }
        KeyAlgorithm::Ed25519 => &[SigningScheme::Ed25519],
        KeyAlgorithm::Rsa => &[
            SigningScheme::RsaPkcs1Sha256,
            SigningScheme::RsaPkcs1Sha384,
            SigningScheme::RsaPkcs1Sha512,
            SigningScheme::RsaPssSha256,
            SigningScheme::RsaPssSha384,
            SigningScheme::RsaPssSha512,
        ],
        _ => &[],
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}
