//! Which images a policy is about, and which ones are approved as a base.

use std::fmt;

use crate::Error;

/// Image names: one exactly, or with a trailing `/*` everything below a path. Both ends are
/// anchored, and a path ends only at a slash: `example.com/acme/*` is not about
/// `example.com/acme-evil/odoo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePattern(String);

impl ImagePattern {
    /// Whether a canonical name (registry and repository) is one of these.
    #[must_use]
    pub fn matches(&self, repository: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(path) => repository.len() > path.len() && repository.starts_with(path),
            None => repository == self.0,
        }
    }
}

impl std::str::FromStr for ImagePattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Err(Error::Pattern { pattern: text.chars().take(300).collect(), why });
        let name = text.strip_suffix("/*").unwrap_or(text);
        if name.contains('*') {
            return wrong("* stands only at the end, after a slash");
        }
        if name.split('/').any(str::is_empty) {
            return wrong("a part between slashes is empty");
        }
        let known = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':' | '/');
        if !name.chars().all(known) {
            return wrong("it has characters that no canonical image name has");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
