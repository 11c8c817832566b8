//! What each authority is proved to have said about the image that is asked about.
//!
//! Here statements about other digests and by whoever is revoked are left out, for signatures,
//! attestations and provenance alike, so that no rule can forget to. And a form that fails is
//! never passed over for an older one: where somebody's bundle about this image does not hold,
//! the same statement of theirs in the `.sig` and `.att` layout does not count either.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use tidegate_ids::Digest;

use crate::authority::Authority;
use crate::bundle::{Content, Evidence};
use crate::proof::Proved;
use crate::revocation::Revoked;
use crate::roots::Roots;
use crate::shortcoming::Shortcoming;
use crate::trust::TrustRule;
use crate::{Attached, Reason, Subject};

/// What is attached to an image, and who is proved to have made it.
pub(crate) struct Statements<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) now: Timestamp,
    /// How many things are attached.
    pub(crate) attached: usize,
    evidence: Evidence,
    /// Bundles about this image: their predicate types by what they are attached by.
    bundles: BTreeMap<Digest, String>,
    revoked: Vec<&'a Revoked>,
    known: RefCell<BTreeMap<(Digest, Digest), Rc<Stated>>>,
}

/// What one authority said about the image.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    /// What counts.
    pub(crate) counted: Vec<Proved>,
    /// Why the rest does not.
    pub(crate) lacking: Vec<Reason>,
}

impl<'a> Statements<'a> {
    pub(crate) fn read(
        subject: &'a Subject,
        attached: &[Attached],
        revoked: impl Iterator<Item = &'a Revoked>,
        now: Timestamp,
    ) -> Self {
        let evidence = Evidence::read(attached);
        let newer = |digest: Digest| {
            let bundle =
                |one: &Attached| matches!(one, Attached::Bundle { digest: d, .. } if *d == digest);
            attached.iter().any(bundle)
        };
        let about = evidence.signed.iter().filter_map(|signed| match &signed.content {
            Content::Statement { predicate_type, subjects, .. }
                if subjects.contains(&subject.image.digest) && newer(signed.attached) =>
            {
                Some((signed.attached, predicate_type.clone()))
            }
            _ => None,
        });
        Self {
            subject,
            now,
            attached: attached.len(),
            bundles: about.collect(),
            evidence,
            revoked: revoked.collect(),
            known: RefCell::default(),
        }
    }

    /// What this authority said, proved under the roots of this rule.
    pub(crate) fn by(&self, authority: &Authority, rule: &TrustRule) -> Rc<Stated> {
        let key = (rule.roots_digest, authority.demands());
        if let Some(known) = self.known.borrow().get(&key) {
            return Rc::clone(known);
        }
        let stated = Rc::new(self.prove(authority, &rule.roots));
        self.known.borrow_mut().insert(key, Rc::clone(&stated));
        stated
    }

    fn prove(&self, authority: &Authority, roots: &Roots) -> Stated {
        let proofs = self.evidence.by(authority, roots, self.now);
        let failed: Vec<&String> = proofs
            .shortcomings
            .iter()
            .filter(|one| theirs(one))
            .filter_map(|one| self.bundles.get(&one.attached()))
            .collect();
        let mut stated = Stated::default();
        for proved in proofs.proved {
            let older = !self.bundles.contains_key(&proved.attached);
            match self.objection(&proved) {
                Some(reason) => stated.lacking.push(reason),
                None if older && failed.contains(&&proved.predicate_type) => {
                    let (attached, signer) = (proved.attached, proved.signer.name);
                    stated.lacking.push(Reason::OlderForm { attached, signer });
                }
                None => stated.counted.push(proved),
            }
        }
        stated.lacking.extend(proofs.shortcomings.into_iter().map(Reason::Shortcoming));
        stated
    }

    /// Why a proved statement does not count for this image, under whatever policy.
    fn objection(&self, proved: &Proved) -> Option<Reason> {
        let image = self.subject.image.digest;
        let (attached, signer) = (proved.attached, proved.signer.name.clone());
        if !proved.subjects.contains(&image) {
            let about = proved.subjects.iter().copied().collect();
            return Some(Reason::OtherDigest { attached, signer, signed: about, image });
        }
        let revoked = self.revoked.iter().find(|one| one.revokes_statement(proved))?;
        Some(Reason::RevokedSigner {
            policy: revoked.policy.clone(),
            attached,
            signer,
            since: revoked.since(),
            why: revoked.reason.clone(),
        })
    }
}

/// Whether a shortcoming is that of a bundle which may well be by the authority that was asked
/// for, and does not hold; not that it is by somebody else or of no use to anybody.
fn theirs(shortcoming: &Shortcoming) -> bool {
    matches!(
        shortcoming,
        Shortcoming::NoLogEntry { .. }
            | Shortcoming::NotProved { .. }
            | Shortcoming::OutsideWindow { .. }
            | Shortcoming::Future { .. }
    )
}
