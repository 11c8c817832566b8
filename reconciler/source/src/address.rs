//! Which URLs may be a source.
//!
//! Only what is encrypted leaves the machine, secrets belong into Secrets and not
//! into URLs (which are shown in conditions and logs), and local paths are no
//! sources, because they would give a repository's author the engine's files.

use crate::{Error, Limits};
use url::{Host, Url};

/// A URL that was checked and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    url: String,
    host: String,
}

impl Address {
    pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Self, Error> {
        let Ok(url) = Url::parse(text) else {
            return Err(refuse("the given text", "it is no URL; write https://host/path"));
        };
        let shown = shown(&url);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                &shown,
                "it holds a user name or password; put them into the credentials Secret and take them out of the URL",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(&shown, "it has a query or fragment, which no Git URL needs"));
        }
        match url.scheme() {
            "https" => {}
            "http" if loopback(&url) => {}
            "file" if limits.file_urls => {}
            "http" => return Err(refuse(&shown, "http:// is not encrypted; use https://")),
            "file" => {
                return Err(refuse(&shown, "local paths are no sources; use https://"));
            }
            _ => return Err(refuse(&shown, "only https:// is supported")),
        }
        let host = url.host_str().unwrap_or("this machine").to_owned();
        Ok(Self { url: url.into(), host })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn is_local(&self) -> bool {
        self.url.starts_with("file:")
    }
}

fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The part of a refused URL that cannot hold a secret.
fn shown(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn refuse(shown: &str, why: &'static str) -> Error {
    Error::Url { url: shown.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_urls_without_secrets_are_sources() {
        let cases = [
            ("https://git.example.org/team/shop.git", true),
            ("http://127.0.0.1:3000/shop.git", true),
            ("http://localhost:3000/shop.git", true),
            ("http://[::1]:3000/shop.git", true),
            ("http://git.example.org/shop.git", false),
            ("http://127.0.0.1.example.org/shop.git", false),
            ("file:///etc", false),
            ("/etc", false),
            ("ssh://git@example.org/shop.git", false),
            ("git://example.org/shop.git", false),
            ("ext::sh -c id", false),
            ("https://robot:s3cret@example.org/shop.git", false),
            ("https://t0ken@example.org/shop.git", false),
            ("https://example.org/shop.git?private_token=s3cret", false),
        ];
        for (url, accepted) in cases {
            let parsed = Address::parse(url, &Limits::default());
            assert_eq!(parsed.is_ok(), accepted, "{url}: {parsed:?}");
            if let Err(error) = parsed {
                let message = error.to_string();
                assert!(!message.contains("s3cret") && !message.contains("t0ken"), "{message}");
            }
        }
    }
}
