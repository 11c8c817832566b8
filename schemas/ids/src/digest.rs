//! SHA-256 digests in the form `sha256:<64 hex>` (OCI image spec, descriptors).
//!
//! What people approve and what a release is, is a digest over canonical JSON
//! (RFC 8785) under a domain tag, so that no two kinds of content share one.

use crate::{ParseError, string_serde};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a value under a domain tag: SHA-256 over the tag, a line
    /// feed, and the value's canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// When the value has no JSON form (a map with keys that are not strings, NaN).
    pub fn tagged<T: serde::Serialize>(tag: &str, value: &T) -> Result<Self, serde_json::Error> {
        let mut hash = Sha256::new();
        hash.update(tag.as_bytes());
        hash.update(b"\n");
        hash.update(canonical_json(value)?);
        Ok(Self(hash.finalize().into()))
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }

    /// The first ten hexadecimal digits, for names and for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex().chars().take(10).collect()
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A value as canonical JSON (RFC 8785): the same value, the same bytes.
///
/// # Errors
/// When the value has no JSON form.
pub fn canonical_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json_canonicalizer::to_vec(value)
}

impl std::str::FromStr for Digest {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(text, "digest", "it is sha256: and 64 lower-case hexadecimal digits")
        };
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64).ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        base16ct::lower::decode(hex, &mut bytes).map_err(|_| wrong())?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

string_serde!(Digest, "Digest", "^sha256:[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_digest_reads_back_from_its_text() {
        let digest = Digest::of(b"odoo");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn other_algorithms_upper_case_and_short_forms_are_not_digests() {
        for text in ["sha512:00", "sha256:AB", "00", "", "sha256:+1"] {
            assert!(text.parse::<Digest>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn the_same_value_under_another_tag_is_another_digest() {
        let value = BTreeMap::from([("lane", "app")]);
        assert_ne!(
            Digest::tagged("tidegate-release/v1", &value).unwrap(),
            Digest::tagged("tidegate-change/v1", &value).unwrap()
        );
    }
}
