//! Images that run without a signature: digests listed one by one, by two people, until a day.

use jiff::Timestamp;
use tidegate_ids::Digest;
use tidegate_schemas::{Exception, StaticDigest};

use crate::Error;

/// A policy's list of exceptions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exceptions(Vec<(Digest, Exception)>);

/// What the list says of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed<'a> {
    /// It may run.
    Until(&'a Exception),
    /// It might, until then.
    Expired(&'a Exception),
    /// Nothing.
    No,
}

impl Exceptions {
    pub(crate) fn new(policy: &str, stated: &[StaticDigest]) -> Result<Self, Error> {
        let impossible =
            |why| Error::Impossible { policy: policy.to_owned(), what: "spec.static[]", why };
        for one in stated {
            let (owner, other) = (one.owner.trim(), one.approved_by.trim());
            if owner.is_empty() || other.is_empty() || one.reason.trim().is_empty() {
                return Err(impossible("owner, approvedBy and reason have to be filled in"));
            }
            if owner.eq_ignore_ascii_case(other) {
                return Err(impossible("approvedBy must be another person than owner"));
            }
        }
        let exception = |one: &StaticDigest| {
            let exception = Exception {
                policy: policy.to_owned(),
                owner: one.owner.clone(),
                approved_by: one.approved_by.clone(),
                reason: one.reason.clone(),
                expires: one.expires,
            };
            (one.digest, exception)
        };
        Ok(Self(stated.iter().map(exception).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of this digest; of several entries the one that ends last.
    pub(crate) fn of(&self, digest: Digest, now: Timestamp) -> Listed<'_> {
        let last = self.entries(digest).max_by_key(|one| one.expires);
        match last {
            Some(exception) if now < exception.expires => Listed::Until(exception),
            Some(exception) => Listed::Expired(exception),
            None => Listed::No,
        }
    }

    /// The entries for one digest.
    pub(crate) fn entries(&self, digest: Digest) -> impl Iterator<Item = &Exception> {
        self.0.iter().filter(move |(listed, _)| *listed == digest).map(|(_, exception)| exception)
    }
}
