//! What no longer counts, under any policy.
//!
//! Revocations are read apart from the rest of a policy: a policy whose key or root is missing
//! still revokes what it revokes. Nothing outweighs them, no other policy and no exception.

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_ids::Digest;
use tidegate_schemas::{Revocation, TrustPolicySpec};

use crate::Error;
use crate::identity::Text;
use crate::proof::Proved;
use crate::verdict::Person;

/// One thing that no longer counts.
#[derive(Clone)]
pub(crate) struct Revoked {
    pub(crate) policy: String,
    pub(crate) reason: String,
    what: What,
    since: Option<Timestamp>,
}

#[derive(Clone)]
enum What {
    Image(Digest),
    Key(Digest),
    Identity { issuer: String, subject: Text },
}

impl Revoked {
    /// Everything that a policy revokes.
    pub(crate) fn all(policy: &str, spec: &TrustPolicySpec) -> Result<Vec<Self>, Error> {
        spec.revoked.iter().map(|one| Self::new(policy, one)).collect()
    }

    fn new(policy: &str, stated: &Revocation) -> Result<Self, Error> {
        let impossible =
            |why| Error::Impossible { policy: policy.to_owned(), what: "spec.revoked[]", why };
        let what = match (stated.digest, stated.key, &stated.identity) {
            (Some(digest), None, None) if stated.since.is_none() => What::Image(digest),
            (Some(_), None, None) => {
                return Err(impossible("a digest is revoked altogether: leave out since"));
            }
            (None, Some(key), None) => What::Key(key),
            (None, None, Some(identity)) if identity.issuer.is_empty() => {
                return Err(impossible("identity.issuer is empty, so that nothing is revoked"));
            }
            (None, None, Some(identity)) => What::Identity {
                issuer: identity.issuer.clone(),
                subject: Text::new("subject", &identity.subject)?,
            },
            _ => return Err(impossible("name exactly one of digest, key and identity")),
        };
        let (policy, reason) = (policy.to_owned(), stated.reason.clone());
        Ok(Self { policy, reason, what, since: stated.since })
    }

    /// Whether this image is revoked.
    pub(crate) fn revokes_image(&self, digest: Digest) -> bool {
        matches!(self.what, What::Image(revoked) if revoked == digest)
    }

    /// Whether what was proved no longer counts: its maker is revoked, and not everything that
    /// proves a time says that it was made before.
    pub(crate) fn revokes_statement(&self, proved: &Proved) -> bool {
        let maker = match (&self.what, proved.signer.person()) {
            (What::Key(revoked), Person::Key(key)) => *revoked == key,
            (What::Identity { issuer, subject }, Person::Identity(identity)) => {
                *issuer == identity.issuer && subject.matches(&identity.subject)
            }
            _ => false,
        };
        let before = self.since.is_some_and(|since| {
            !proved.times.is_empty() && proved.times.iter().all(|time| *time < since)
        });
        maker && !before
    }

    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// All of it, for digests over policies.
    pub(crate) fn canonical(&self) -> Value {
        let what = match &self.what {
            What::Image(digest) => json!({"image": digest}),
            What::Key(key) => json!({"key": key}),
            What::Identity { issuer, subject } => {
                json!({"issuer": issuer, "subject": subject.canonical()})
            }
        };
        json!({"policy": self.policy, "what": what, "since": self.since, "reason": self.reason})
    }
}
