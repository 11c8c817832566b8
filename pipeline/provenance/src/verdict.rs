//! The outcome of verification.
//!
//! [`VerifiedImage`] is the proof that later stations ask for. Only [`crate::verify`] makes one.

use std::fmt;

use jiff::Timestamp;
use tidegate_ids::Digest;
use tidegate_schemas::{CountedStatement, Exception, ScanRecord};

use crate::Reason;
use crate::shortcoming::printable;

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

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(identity) => {
                write!(f, "{} by {}", printable(&identity.subject), printable(&identity.issuer))
            }
            None if self.name.contains(&self.fingerprint.to_string()) => f.write_str(&self.name),
            None => write!(f, "{} ({})", self.name, self.fingerprint),
        }
    }
}

/// What a verdict stands on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grounds {
    pub(crate) signers: Vec<Signer>,
    pub(crate) statements: Vec<CountedStatement>,
    pub(crate) exception: Option<Exception>,
    pub(crate) scan: Option<ScanRecord>,
    /// When it ends by itself; none where it does not.
    pub(crate) until: Option<Timestamp>,
}

impl Grounds {
    /// These and those: each signer and statement once, the exception that ends first, the newest
    /// scan, and the earlier end.
    pub(crate) fn add(&mut self, other: Self) {
        for signer in other.signers {
            if !self.signers.contains(&signer) {
                self.signers.push(signer);
            }
        }
        for statement in other.statements {
            if !self.statements.contains(&statement) {
                self.statements.push(statement);
            }
        }
        self.exception = match (self.exception.take(), other.exception) {
            (Some(one), Some(two)) => Some(if two.expires < one.expires { two } else { one }),
            (one, two) => one.or(two),
        };
        self.scan = match (self.scan.take(), other.scan) {
            (Some(one), Some(two)) => Some(if two.at > one.at { two } else { one }),
            (one, two) => one.or(two),
        };
        self.until = match (self.until, other.until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }
}

/// An image whose digest satisfied every policy that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedImage {
    image: ImageRef,
    policies: Vec<String>,
    grounds: Grounds,
    at: Timestamp,
}

impl VerifiedImage {
    pub(crate) fn new(
        image: ImageRef,
        policies: Vec<String>,
        grounds: Grounds,
        at: Timestamp,
    ) -> Self {
        Self { image, policies, grounds, at }
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

    /// Who signed; nobody where it runs by an exception.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.grounds.signers
    }

    /// The statements that counted.
    #[must_use]
    pub fn statements(&self) -> &[CountedStatement] {
        &self.grounds.statements
    }

    /// The exception that it runs by; of several the one that ends first.
    #[must_use]
    pub fn exception(&self) -> Option<&Exception> {
        self.grounds.exception.as_ref()
    }

    /// When it has to be verified again by itself.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.grounds.until
    }

    /// When it was verified.
    #[must_use]
    pub fn verified_at(&self) -> Timestamp {
        self.at
    }
}

/// Whether an image may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may; every policy that names it is satisfied, and nothing it stands on is revoked.
    Passed(Box<VerifiedImage>),
    /// It may not.
    Failed {
        /// The policies that name the image.
        policies: Vec<String>,
        /// Why not. Never empty.
        reasons: Vec<Reason>,
        /// When a key begins to count, which may change it.
        until: Option<Timestamp>,
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

    /// The verdict as a Release records it, but for the digest of the rules.
    #[must_use]
    pub fn record(&self) -> tidegate_schemas::Verdict {
        match self {
            Self::Passed(image) => {
                let Grounds { signers, statements, exception, scan, until } = image.grounds.clone();
                tidegate_schemas::Verdict {
                    passed: true,
                    policies: image.policies.clone(),
                    signers: signers.into_iter().map(|signer| signer.name).collect(),
                    until,
                    statements,
                    exception,
                    scan,
                    ..tidegate_schemas::Verdict::default()
                }
            }
            Self::Failed { policies, reasons, until } => tidegate_schemas::Verdict {
                passed: false,
                policies: policies.clone(),
                reasons: reasons.iter().map(ToString::to_string).collect(),
                until: *until,
                ..tidegate_schemas::Verdict::default()
            },
        }
    }
}
