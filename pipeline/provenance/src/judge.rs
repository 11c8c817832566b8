//! Verification: the image, what is attached to it and the rules, to a verdict.
//!
//! A signature counts when both hold: an accepted key made it over the statement, and the
//! statement is about this digest. A bundle that does not count never outweighs one that does,
//! and never stands in for one; when a demand is not met, every bundle's shortcoming is told.

use crate::attached::Attached;
use crate::bundle::{Evidence, SIGN_PREDICATE};
use crate::proof::Proved;
use crate::prove::Proofs;
use crate::roots::Roots;
use crate::shortcoming::Shortcoming;
use crate::trust::{Requirement, TrustRule};
use crate::verdict::{ImageRef, Verdict, VerifiedImage};
use crate::{Authority, Reason};

/// Whether an image may run, by the bundles attached to it and the rules in force. Every rule
/// that names the image must be satisfied, and at least one must name it. `now` is written into
/// the proof.
#[must_use]
pub fn verify(
    image: &ImageRef,
    bundles: &[Vec<u8>],
    rules: &[TrustRule],
    now: jiff::Timestamp,
) -> Verdict {
    let naming: Vec<_> = rules.iter().filter(|rule| rule.names(&image.repository)).collect();
    let policies: Vec<_> = naming.iter().map(|rule| rule.policy().to_owned()).collect();
    if naming.is_empty() {
        let reasons = vec![Reason::NoPolicy { image: image.clone() }];
        return Verdict::Failed { policies, reasons };
    }
    let attached: Vec<_> = bundles.iter().cloned().map(Attached::bundle).collect();
    let evidence = Evidence::read(&attached);
    let (mut signers, mut reasons) = (Vec::new(), Vec::new());
    for rule in naming {
        for requirement in rule.require() {
            let by = |one: &Authority| evidence.by(one, &Roots::default(), now);
            let proofs: Vec<_> = requirement.any_of.iter().map(by).collect();
            match counted(image, &proofs) {
                Some(proof) if signers.contains(&proof.signer) => {}
                Some(proof) => signers.push(proof.signer.clone()),
                None => {
                    let found = attached.len();
                    reasons.extend(missing(image, &proofs, found, rule.policy(), requirement));
                }
            }
        }
    }
    if reasons.is_empty() {
        return Verdict::Passed(VerifiedImage::new(image.clone(), policies, signers, now));
    }
    Verdict::Failed { policies, reasons }
}

/// The first proof that an accepted authority signed this digest.
fn counted<'a>(image: &ImageRef, proofs: &'a [Proofs]) -> Option<&'a Proved> {
    let signature = |one: &&Proved| {
        one.predicate_type == SIGN_PREDICATE && one.subjects.contains(&image.digest)
    };
    proofs.iter().flat_map(|proofs| &proofs.proved).find(signature)
}

/// Why no signature satisfies a requirement.
fn missing(
    image: &ImageRef,
    proofs: &[Proofs],
    attached: usize,
    policy: &str,
    requirement: &Requirement,
) -> Vec<Reason> {
    let policy = policy.to_owned();
    let keys: Vec<_> = requirement.any_of.iter().map(|one| one.name().to_owned()).collect();
    let mut reasons = Vec::new();
    for proved in proofs.iter().flat_map(|proofs| &proofs.proved) {
        let predicate_type = proved.predicate_type.clone();
        reasons.push(if predicate_type == SIGN_PREDICATE {
            let signed = proved.subjects.iter().copied().collect();
            let (key, image) = (proved.signer.name.clone(), image.digest);
            Reason::OtherDigest { policy: policy.clone(), key, signed, image }
        } else {
            Reason::Attestation { predicate_type }
        });
    }
    if !reasons.iter().any(|reason| matches!(reason, Reason::OtherDigest { .. })) {
        let (image, policy) = (image.clone(), policy.clone());
        reasons.insert(0, Reason::NoSignature { image, attached, policy, keys: keys.clone() });
    }
    let mut shortcomings: Vec<&Shortcoming> = Vec::new();
    for shortcoming in proofs.iter().flat_map(|proofs| &proofs.shortcomings) {
        if !shortcomings.contains(&shortcoming) {
            shortcomings.push(shortcoming);
        }
    }
    reasons.extend(shortcomings.into_iter().cloned().map(Reason::Shortcoming));
    reasons
}

#[cfg(test)]
mod tests;
