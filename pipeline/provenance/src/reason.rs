//! Why an image may not run, in sentences: what, why, and the way out.
//!
//! Texts taken from bundles were written by whoever could push to the registry: they are cut and
//! their control characters escaped.

use std::fmt;

use jiff::Timestamp;
use tidegate_ids::Digest;
use tidegate_schemas::Exception;

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
    /// The image is revoked.
    RevokedImage {
        /// The policy that revokes it.
        policy: String,
        /// What is revoked.
        image: Digest,
        /// Why, as the policy says.
        why: String,
    },
    /// Nobody who is asked for signed it.
    NotSigned {
        /// The image.
        image: ImageRef,
        /// How many things are attached.
        attached: usize,
        /// The policy that asks.
        policy: String,
        /// Who is asked for.
        wanted: String,
    },
    /// Some of those who are asked for signed it, but not enough.
    TooFew {
        /// The policy that asks.
        policy: String,
        /// How many of whom.
        wanted: String,
        /// Who did sign.
        found: Vec<String>,
    },
    /// Somebody who is asked for signed something else.
    OtherDigest {
        /// What is attached.
        attached: Digest,
        /// Who signed.
        signer: String,
        /// What was signed.
        signed: Vec<Digest>,
        /// What would run.
        image: Digest,
    },
    /// Somebody's signatures do not count any more.
    RevokedSigner {
        /// The policy that revokes.
        policy: String,
        /// What is attached.
        attached: Digest,
        /// Who signed.
        signer: String,
        /// Signatures proved to be made before still count.
        since: Option<Timestamp>,
        /// Why, as the policy says.
        why: String,
    },
    /// A statement in the older layout, beside a newer one by the same authority that fails.
    OlderForm {
        /// What is attached.
        attached: Digest,
        /// Who signed.
        signer: String,
    },
    /// A signature is in fewer transparency logs than are asked for.
    Logs {
        /// What is attached.
        attached: Digest,
        /// Who signed.
        signer: String,
        /// In how many different logs it is.
        has: usize,
        /// In how many it must be.
        wanted: usize,
    },
    /// A signature has fewer timestamps than are asked for.
    Timestamps {
        /// What is attached.
        attached: Digest,
        /// Who signed.
        signer: String,
        /// How many different authorities stamped it.
        has: usize,
        /// How many must have.
        wanted: usize,
    },
    /// An attestation, which is not a signature.
    Attestation {
        /// What is attached.
        attached: Digest,
        /// Who made it.
        signer: String,
        /// Its predicate type.
        predicate_type: String,
    },
    /// The exception that let it run is over.
    Expired {
        /// The image.
        image: Digest,
        /// The exception.
        exception: Exception,
    },
    /// A policy that lets only listed digests run does not list this one.
    NotListed {
        /// The image.
        image: ImageRef,
        /// The policy.
        policy: String,
    },
    /// Nobody who is asked for made a statement of this kind about the image.
    NoStatement {
        /// The policy that asks.
        policy: String,
        /// The image.
        image: ImageRef,
        /// What is asked for, and by whom.
        wanted: String,
    },
    /// A statement does not say what is asked for.
    Statement {
        /// The policy that asks.
        policy: String,
        /// What is attached.
        attached: Digest,
        /// Who made it.
        signer: String,
        /// What is wrong with it.
        why: String,
    },
    /// The image is built on what is not approved, or on what nobody knows.
    Base {
        /// The policy that asks.
        policy: String,
        /// What is wrong.
        why: String,
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
            Self::RevokedImage { policy, image, why } => write!(
                f,
                "{image} is revoked by TrustPolicy {policy}: {}; run another image",
                printable(why)
            ),
            Self::NotSigned { .. } | Self::TooFew { .. } => self.unsigned(f),
            Self::OtherDigest { .. } | Self::RevokedSigner { .. } => self.of_no_use(f),
            Self::OlderForm { attached, signer } => write!(
                f,
                "{} is by {signer} in the older layout, which counts only where no bundle of \
                 theirs is attached, and theirs does not hold; remove that bundle or sign again",
                attached.short()
            ),
            Self::Logs { attached, signer, has, wanted } => write!(
                f,
                "{} by {signer} is in {}, and {wanted} are asked for; sign with every log",
                attached.short(),
                number(*has, "transparency log")
            ),
            Self::Timestamps { attached, signer, has, wanted } => write!(
                f,
                "{} by {signer} is stamped by {}, and {wanted} are asked for; sign with every \
                 timestamp authority",
                attached.short(),
                number(*has, "timestamp authority")
            ),
            Self::Attestation { attached, signer, predicate_type } => write!(
                f,
                "{} by {signer} is an attestation of type {}, which is not a signature; sign the \
                 image too",
                attached.short(),
                printable(predicate_type)
            ),
            Self::Expired { image, exception } => write!(
                f,
                "the exception for {image} in TrustPolicy {} ended at {}; {}, who answers for it, \
                 has it signed, or renews the entry together with a second person",
                exception.policy,
                exception.expires,
                printable(&exception.owner)
            ),
            Self::NotListed { image, policy } => write!(
                f,
                "TrustPolicy {policy} lets only listed digests of {} run, and {} is not listed; \
                 two people list it in spec.static, or say in spec.require who signs it",
                image.repository, image.digest
            ),
            Self::NoStatement { policy, image, wanted } => write!(
                f,
                "TrustPolicy {policy} asks for {wanted}, and nothing attached to {image} is one; \
                 attach it with cosign attest"
            ),
            Self::Statement { policy, attached, signer, why } => {
                let short = attached.short();
                write!(f, "{short} by {signer} does not satisfy TrustPolicy {policy}: {why}")
            }
            Self::Base { policy, why } => {
                write!(f, "its base does not satisfy TrustPolicy {policy}: {why}")
            }
            Self::Shortcoming(shortcoming) => shortcoming.fmt(f),
        }
    }
}

impl Reason {
    fn unsigned(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned { image, attached, policy, wanted } => {
                write!(f, "no signature that counts: ")?;
                match attached {
                    0 => write!(f, "nothing is attached to {image}")?,
                    1 => write!(f, "the one thing attached to {image} is none")?,
                    n => write!(f, "none of {n} things attached to {image} is one")?,
                }
                write!(f, "; sign it as TrustPolicy {policy} asks, by {wanted}")
            }
            Self::TooFew { policy, wanted, found } => write!(
                f,
                "too few signatures: TrustPolicy {policy} asks for {wanted}, and only {} signed; \
                 sign with another of them",
                found.join(" and ")
            ),
            _ => Ok(()),
        }
    }

    fn of_no_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDigest { attached, signer, signed, image } => {
                let more = signed.len().saturating_sub(3);
                let named: Vec<_> = signed.iter().take(3).map(ToString::to_string).collect();
                write!(f, "{} by {signer} is about {}", attached.short(), named.join(", "))?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(f, ", not about this image's {image}; sign this digest")
            }
            Self::RevokedSigner { policy, attached, signer, since, why } => {
                write!(
                    f,
                    "{} is by {signer}, who is revoked by TrustPolicy {policy}",
                    attached.short()
                )?;
                if let Some(since) = since {
                    write!(f, " since {since}, and nothing proves that it was made before")?;
                }
                write!(f, ": {}; have it signed by somebody else", printable(why))
            }
            _ => Ok(()),
        }
    }
}

fn number(count: usize, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (0, _) => format!("no {what}"),
        (1, _) => format!("1 {what}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {what}s"),
    }
}
