//! Why an image may not run, in sentences.
//!
//! Texts taken from bundles were written by whoever could push to the registry: they are cut and
//! their control characters escaped.

use std::fmt;

use tidegate_ids::Digest;

use crate::ImageRef;

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
    /// There is a signature, but by a key that the policy does not accept.
    OtherKey {
        /// The policy that asks for a signature.
        policy: String,
        /// The fingerprint the bundle states; it is not authenticated.
        claimed: Option<Digest>,
        /// The keys the policy accepts.
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
    /// A bundle signed with a certificate, which no policy here accepts.
    Certificate,
    /// A bundle that signs bytes and says nothing of an image.
    Message,
    /// A bundle that cannot be read.
    Malformed {
        /// What is wrong with it.
        why: String,
    },
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
            Self::OtherKey { policy, claimed, keys } => {
                let keys = keys.join(" or ");
                write!(f, "signed by another key")?;
                if let Some(fingerprint) = claimed {
                    write!(f, " (its bundle says {fingerprint})")?;
                }
                write!(f, " than {keys}, which TrustPolicy {policy} names; sign with that key")
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
            Self::Certificate => write!(
                f,
                "a bundle is signed with a certificate; only signatures by keys are accepted, as \
                 `cosign sign --key` makes them"
            ),
            Self::Message => write!(
                f,
                "a bundle signs plain bytes and no statement about an image; sign with `cosign \
                 sign`, not `cosign sign-blob`"
            ),
            Self::Malformed { why } => {
                write!(f, "a bundle cannot be read: {}; remove it or sign again", printable(why))
            }
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
