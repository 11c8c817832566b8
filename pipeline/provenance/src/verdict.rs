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
    /// The name the policies know the key by.
    pub name: String,
    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    pub fingerprint: Digest,
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
