//! The outcome of verification.
//!
//! [`VerifiedImage`] is the proof that later stations ask for. Only [`crate::verify`] makes one.

use std::fmt;

use tidegate_ids::Digest;

use crate::Reason;

/// An image that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// Canonical registry and repository, such as `docker.io/library/redis`.
    pub repository: String,
    /// Its digest: of the index where there is one, otherwise of the manifest.
    pub digest: Digest,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// Somebody whose signature was found and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name the policies know the authority by.
    pub name: String,
    /// SHA-256 of the key's `SubjectPublicKeyInfo`; of a certificate's key, which lives for
    /// minutes, where there is an identity.
    pub fingerprint: Digest,
    /// Who the certificate says it is; none for a key.
    pub identity: Option<SignerIdentity>,
}

/// An identity, as a verified certificate states it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignerIdentity {
    /// The OpenID Connect issuer.
    pub issuer: String,
    /// The subject alternative name.
    pub subject: String,
}

/// What makes two signers one: the same key, by whatever names, or the same identity, with
/// whatever certificates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Person {
    /// The holder of this key.
    Key(Digest),
    /// This identity.
    Identity(SignerIdentity),
}

impl Signer {
    /// Who it is, for counting.
    #[must_use]
    pub fn person(&self) -> Person {
        match &self.identity {
            Some(identity) => Person::Identity(identity.clone()),
            None => Person::Key(self.fingerprint),
        }
    }
}

/// An image whose digest satisfied every policy that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedImage {
    image: ImageRef,
    policies: Vec<String>,
    signers: Vec<Signer>,
    at: jiff::Timestamp,
}

impl VerifiedImage {
    pub(crate) fn new(
        image: ImageRef,
        policies: Vec<String>,
        signers: Vec<Signer>,
        at: jiff::Timestamp,
    ) -> Self {
        Self { image, policies, signers, at }
    }

    /// Canonical registry and repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.image.repository
    }

    /// What was verified.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.image.digest
    }

    /// The policies that were satisfied.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Who signed.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// When it was verified.
    #[must_use]
    pub fn verified_at(&self) -> jiff::Timestamp {
        self.at
    }
}

/// Whether an image may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may; every policy that names it is satisfied.
    Passed(VerifiedImage),
    /// It may not.
    Failed {
        /// The policies that name the image.
        policies: Vec<String>,
        /// Why not. Never empty.
        reasons: Vec<Reason>,
    },
}

impl Verdict {
    /// The proof, when there is one.
    #[must_use]
    pub fn passed(&self) -> Option<&VerifiedImage> {
        match self {
            Self::Passed(image) => Some(image),
            Self::Failed { .. } => None,
        }
    }

    /// The verdict as a Release records it.
    #[must_use]
    pub fn record(&self) -> tidegate_schemas::Verdict {
        match self {
            Self::Passed(image) => tidegate_schemas::Verdict {
                passed: true,
                policies: image.policies.clone(),
                signers: image.signers.iter().map(|signer| signer.name.clone()).collect(),
                ..tidegate_schemas::Verdict::default()
            },
            Self::Failed { policies, reasons } => tidegate_schemas::Verdict {
                passed: false,
                policies: policies.clone(),
                reasons: reasons.iter().map(ToString::to_string).collect(),
                ..tidegate_schemas::Verdict::default()
            },
        }
    }
}
