//! Signatures in, verdicts out.
//!
//! Given an image's digest, the Sigstore bundles found beside it and the trust rules in force,
//! [`verify`] says whether the image may run. It reads nothing and asks no clock: bundles come
//! from the registry's reader, keys and rules from `TrustPolicy` objects, and the time from the
//! caller, so that a verdict can be made again from the same bytes. The rule is deny unless
//! proved: an image that no policy names does not run, and [`VerifiedImage`] has no other maker.
//!
//! Certificates, logs and timestamps are verified by the Sigstore project's verifier. It asks every
//! bundle for a log entry or a timestamp; a signature by a plain key whose policy says `log: none`
//! has neither, and is checked with the same project's cryptography alone. What joins the two is
//! in `prove`.

mod attached;
mod attestation;
mod authority;
mod bundle;
mod error;
mod exception;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod identity;
#[cfg(test)]
mod instance;
mod inventory;
mod judge;
mod legacy;
mod materials;
mod outcome;
mod pattern;
mod predicate;
mod proof;
mod prove;
mod reason;
mod remediation;
mod requirement;
mod revocation;
mod roots;
mod rules;
mod shortcoming;
mod statements;
mod summary;
mod tile;
mod trust;
mod verdict;

pub use attached::{Attached, Subject};
pub use authority::Authority;
pub use error::Error;
pub use identity::Mismatch;
pub use inventory::{
    Database, Ecosystem, Finding, Inventory, Package, Scan, Scanner, inventory, is_scan, scan,
    statement_of,
};
pub use judge::verify;
pub use materials::{Gathered, KEY_ENTRY, Materials, Needed, ROOT_ENTRY};
pub use outcome::{Check, CheckResult, Outcome};
pub use pattern::ImagePattern;
pub use prove::{Artifact, verify_bundle};
pub use reason::Reason;
pub use remediation::{Fixed, ImageEvidence, Missing, Remedied, remediation};
pub use roots::Roots;
pub use rules::Rules;
pub use shortcoming::Shortcoming;
pub use summary::{BUNDLE, SUMMARY, Statement, Summary, Told, Verifier};
pub use trust::TrustRule;
pub use verdict::{ImageRef, Person, Signer, SignerIdentity, Verdict, VerifiedImage};
