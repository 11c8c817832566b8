//! Names, digests and other identities.
//!
//! Each identity has one type and one parser, used by every crate, so that a
//! value that was parsed once never has to be checked again. Where security
//! rests on content it is SHA-256 with a domain tag; Git's SHA-1 object ids are
//! used to find things, never as proof.

mod commit;
mod digest;
mod name;
mod object;
mod period;

pub use commit::CommitId;
pub use digest::{Digest, canonical_json};
pub use name::{AccountName, EnvironmentName, LaneName, PipelineName};
pub use object::{GroupKind, ObjectId};
pub use period::Period;

/// Why a text is not the identity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct ParseError {
    /// The text that was read, as given.
    pub text: String,
    /// What it should have been, in words.
    pub what: &'static str,
    /// What is wrong and what a right one looks like.
    pub why: &'static str,
}

impl ParseError {
    fn new(text: &str, what: &'static str, why: &'static str) -> Self {
        Self { text: text.chars().take(300).collect(), what, why }
    }
}

/// Implements text forms (`Display` in, `FromStr` out) as serde strings.
macro_rules! string_serde {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "maxLength": 253})
            }
        }
    };
}
pub(crate) use string_serde;
