//! Credentials of a Git server over HTTP, and the promise that they never show.
//!
//! They are sent with the first request, as an `Authorization` header: that saves
//! the round trip of a challenge, and libgit2's credential loop is never entered.
//! Redirects to other hosts are not followed, so the header stays with its host.

use crate::Error;
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What proves to the Git server who asks. `Debug` shows the kind only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    Basic {
        username: String,
        password: String,
    },
    Bearer(String),
}

impl Credentials {
    /// No credentials: a public repository.
    #[must_use]
    pub const fn none() -> Self {
        Self(Kind::None)
    }

    /// A user name with a password or token (HTTP Basic, RFC 7617).
    ///
    /// # Errors
    /// When one is empty or holds control characters, or the name holds a colon.
    pub fn basic(username: &str, password: &str) -> Result<Self, Error> {
        check("user name", username)?;
        check("password", password)?;
        if username.contains(':') {
            return Err(Error::Credentials { why: "the user name holds a colon (RFC 7617)" });
        }
        Ok(Self(Kind::Basic { username: username.to_owned(), password: password.to_owned() }))
    }

    /// A bearer token (RFC 6750).
    ///
    /// # Errors
    /// When it is empty or holds control characters.
    pub fn bearer(token: &str) -> Result<Self, Error> {
        check("token", token)?;
        Ok(Self(Kind::Bearer(token.to_owned())))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == Kind::None
    }

    /// The HTTP header that carries them: secret.
    pub(crate) fn header(&self) -> Option<String> {
        match &self.0 {
            Kind::None => None,
            Kind::Basic { username, password } => {
                let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
                Some(format!("Authorization: Basic {pair}"))
            }
            Kind::Bearer(token) => Some(format!("Authorization: Bearer {token}")),
        }
    }
}

fn check(what: &'static str, text: &str) -> Result<(), Error> {
    let why = match what {
        _ if !text.is_empty() && !text.chars().any(char::is_control) => return Ok(()),
        "user name" => {
            "the user name is empty or holds a control character, such as a line break at its end"
        }
        "password" => {
            "the password is empty or holds a control character, such as a line break at its end"
        }
        _ => "the token is empty or holds a control character, such as a line break at its end",
    };
    Err(Error::Credentials { why })
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::None => "Credentials(none)",
            Kind::Basic { .. } => "Credentials(basic)",
            Kind::Bearer(_) => "Credentials(bearer)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_and_cannot_break_out_of_their_header() {
        let credentials = Credentials::basic("robot", "s3cret").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(basic)");
        assert_eq!(credentials.header().unwrap(), "Authorization: Basic cm9ib3Q6czNjcmV0");
        let refused = Credentials::bearer("s3cret\r\nHost: elsewhere").unwrap_err();
        assert!(!refused.to_string().contains("s3cret"));
        assert!(Credentials::basic("robot", "s3cret\n").is_err());
        assert!(Credentials::basic("", "s3cret").is_err());
    }
}
