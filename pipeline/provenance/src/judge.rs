//! Verification: the image, what is attached to it and the rules, to a verdict.
//!
//! A signature counts when both hold: an accepted key made it over the statement, and the
//! statement is about this digest. A bundle that does not count never outweighs one that does,
//! and never stands in for one; when a demand is not met, every bundle's shortcoming is told.

use tidegate_ids::Digest;

use crate::Reason;
use crate::bundle::{Attached, KeySignature};
use crate::trust::{Authority, Requirement, TrustRule};
use crate::verdict::{ImageRef, Signer, Verdict, VerifiedImage};

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
    let attached: Vec<_> = bundles.iter().map(|bundle| Attached::read(bundle)).collect();
    let (mut signers, mut reasons) = (Vec::new(), Vec::new());
    for rule in naming {
        for requirement in rule.require() {
            match signer(image.digest, &attached, requirement) {
                Some(signer) if signers.contains(&signer) => {}
                Some(signer) => signers.push(signer),
                None => reasons.extend(shortcomings(image, &attached, rule.policy(), requirement)),
            }
        }
    }
    if reasons.is_empty() {
        return Verdict::Passed(VerifiedImage::new(image.clone(), policies, signers, now));
    }
    reasons.extend(attached.iter().filter_map(not_a_signature));
    Verdict::Failed { policies, reasons }
}

/// The first accepted authority that signed this digest.
fn signer(digest: Digest, attached: &[Attached], requirement: &Requirement) -> Option<Signer> {
    let by = |authority: &&Authority| {
        signatures(attached).any(|one| made_by(one, authority) && one.subjects.contains(&digest))
    };
    requirement.any_of.iter().find(by).map(|authority| Signer {
        name: authority.name().to_owned(),
        fingerprint: authority.fingerprint(),
    })
}

fn signatures(attached: &[Attached]) -> impl Iterator<Item = &KeySignature> {
    attached.iter().filter_map(|one| match one {
        Attached::Signature(signature) => Some(signature),
        _ => None,
    })
}

fn made_by(signature: &KeySignature, authority: &Authority) -> bool {
    let (bytes, signature) = signature.signed();
    authority.signed(bytes, signature)
}

/// Why no signature satisfies a requirement.
fn shortcomings(
    image: &ImageRef,
    attached: &[Attached],
    policy: &str,
    requirement: &Requirement,
) -> Vec<Reason> {
    let policy = policy.to_owned();
    let keys: Vec<_> = requirement.any_of.iter().map(|one| one.name().to_owned()).collect();
    let mut reasons: Vec<_> = signatures(attached)
        .map(|one| match requirement.any_of.iter().find(|authority| made_by(one, authority)) {
            Some(authority) => Reason::OtherDigest {
                policy: policy.clone(),
                key: authority.name().to_owned(),
                signed: one.subjects.clone(),
                image: image.digest,
            },
            None => Reason::OtherKey {
                policy: policy.clone(),
                claimed: one.claimed_key,
                keys: keys.clone(),
            },
        })
        .collect();
    if reasons.is_empty() {
        let (image, attached) = (image.clone(), attached.len());
        reasons.push(Reason::NoSignature { image, attached, policy, keys });
    }
    reasons
}

fn not_a_signature(attached: &Attached) -> Option<Reason> {
    match attached {
        Attached::Signature(_) => None,
        Attached::Attestation(predicate_type) => {
            Some(Reason::Attestation { predicate_type: predicate_type.clone() })
        }
        Attached::Certificate => Some(Reason::Certificate),
        Attached::Message => Some(Reason::Message),
        Attached::Malformed(why) => Some(Reason::Malformed { why: why.clone() }),
    }
}

#[cfg(test)]
mod tests;
