//! Git commit ids: SHA-1, used to find things quickly and never as proof.

use crate::{ParseError, string_serde};

/// The id of a Git object that is a commit: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// The 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

impl std::str::FromStr for CommitId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() == 40 && hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new(text, "commit id", "it has 40 lower-case hexadecimal digits"))
        }
    }
}

impl std::fmt::Display for CommitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

string_serde!(CommitId, "CommitId", "^[0-9a-f]{40}$");
