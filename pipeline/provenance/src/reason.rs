//! Why an image may not run, in sentences.
//!
//! Texts taken from bundles were written by whoever could push to the registry: they are cut and
//! their control characters escaped.

use std::fmt;

use tidegate_ids::Digest;

use crate::shortcoming::printable;
use crate::{ImageRef, Shortcoming};

/// One reason why an image may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nobody said who may sign it.
    NoPolicy {
        /// The image.
        image: ImageRef,
    },
    /// Nothing attached is a signature.
    NoSignature {
        /// The image.
        image: ImageRef,
        /// How many bundles are attached.
        attached: usize,
        /// The policy that asks for one.
        policy: String,
        /// The keys it accepts.
        keys: Vec<String>,
    },
    /// An accepted key signed, but something else.
    OtherDigest {
        /// The policy that asks for a signature.
        policy: String,
        /// The key.
        key: String,
        /// What was signed.
        signed: Vec<Digest>,
        /// What would run.
        image: Digest,
    },
    /// An attestation, which is not a signature.
    Attestation {
        /// Its predicate type, as it says.
        predicate_type: String,
    },
    /// Something attached that does not prove who made it.
    Shortcoming(Shortcoming),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy { image } => write!(
                f,
                "no TrustPolicy names this image: {image}; name {} in spec.images of the policy \
                 that says who signs it",
                image.repository
            ),
            Self::NoSignature { image, attached, policy, keys } => {
                let keys = keys.join(" or ");
                match attached {
                    0 => write!(f, "no signature: no Sigstore bundle is attached to {image}")?,
                    n => write!(f, "no signature: none of {n} bundles attached to {image} is one")?,
                }
                write!(f, "; sign it with the key that TrustPolicy {policy} names ({keys})")
            }
            Self::OtherDigest { policy, key, signed, image } => {
                let signed: Vec<_> = signed.iter().map(ToString::to_string).collect();
                let signed =
                    if signed.is_empty() { "no digest".to_owned() } else { signed.join(", ") };
                write!(
                    f,
                    "the signature by {key} is for {signed}, not for this image's {image}; sign \
                     this digest, as TrustPolicy {policy} asks"
                )
            }
            Self::Attestation { predicate_type } => write!(
                f,
                "an attestation of type {} is attached, which is not a signature",
                printable(predicate_type)
            ),
            Self::Shortcoming(shortcoming) => shortcoming.fmt(f),
        }
    }
}
