//! Signatures in, verdicts out.
//!
//! Given an image's digest, the Sigstore bundles found beside it and the trust rules in force,
//! [`verify`] says whether the image may run. It reads nothing and asks no clock: bundles come
//! from the registry's reader, keys and rules from `TrustPolicy` objects, and the time from the
//! caller, so that a verdict can be made again from the same bytes. The rule is deny unless
//! proved: an image that no policy names does not run, and [`VerifiedImage`] has no other maker.
//!
//! `sigstore-verify` itself asks every bundle for a log entry or a timestamp; a signature by a
//! plain key whose policy says `log: none` has neither. Bundles are therefore read with the
//! Sigstore project's types and checked with its cryptography, and the few lines that join the
//! two are in `bundle` and `judge`.

mod attached;
mod bundle;
mod error;
mod judge;
mod proof;
mod reason;
mod trust;
mod verdict;

pub use attached::{Attached, Subject};
pub use error::Error;
pub use judge::verify;
pub use reason::Reason;
pub use trust::{Authority, ImagePattern, Requirement, TrustRule, policy_digest};
pub use verdict::{ImageRef, Signer, Verdict, VerifiedImage};
