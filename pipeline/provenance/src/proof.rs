//! What is known of a statement once it is proved who made it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use tidegate_ids::Digest;

use crate::Signer;

/// A statement about digests that an authority made. Nothing here is a claim of the bundle alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proved {
    /// The digest of the attached bytes it came in.
    pub(crate) attached: Digest,
    /// Who made it.
    pub(crate) signer: Signer,
    /// What it is about.
    pub(crate) subjects: BTreeSet<Digest>,
    /// The predicate type; `https://sigstore.dev/cosign/sign/v1` for a signature, of the older
    /// layout too.
    pub(crate) predicate_type: String,
    /// The predicate; null for a signature.
    pub(crate) predicate: Value,
    /// The logs that have it, by log id in hexadecimal, each with a verified entry.
    pub(crate) logs: BTreeSet<String>,
    /// The timestamp authorities that stamped it, each with a verified stamp.
    pub(crate) timestamps: BTreeSet<String>,
    /// When it was made, as far as logs and timestamp authorities prove it; empty where nothing
    /// does.
    pub(crate) times: Vec<Timestamp>,
}
