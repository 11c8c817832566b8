//! Names of pipelines, environments, lanes and accounts: each its own type, so
//! that one cannot be passed for another. All are RFC 1123 labels, because they
//! become parts of object names, branch names and label values.

use crate::{ParseError, string_serde};

fn label(text: &str, what: &'static str) -> Result<String, ParseError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ok = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if ok {
        Ok(text.to_owned())
    } else {
        Err(ParseError::new(
            text,
            what,
            "it has up to 63 lower-case letters, digits and hyphens, and starts and ends with a letter or digit (RFC 1123)",
        ))
    }
}

macro_rules! name {
    ($type:ident, $what:literal) => {
        #[doc = concat!("The name of a ", $what, ": an RFC 1123 label.")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $type {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                label(text, concat!($what, " name")).map(Self)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
        string_serde!($type, $what, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$");
    };
}

name!(PipelineName, "pipeline");
name!(EnvironmentName, "environment");
name!(LaneName, "lane");
name!(AccountName, "account");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rfc_1123_labels() {
        for good in ["app", "a", "clinic-2", "0"] {
            assert!(good.parse::<LaneName>().is_ok(), "{good} was refused");
        }
        for bad in ["", "-app", "app-", "App", "a.b", "a/b", &"x".repeat(64)] {
            assert!(bad.parse::<LaneName>().is_err(), "{bad} was accepted");
        }
    }
}
