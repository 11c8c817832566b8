//! Repository names in one canonical form.
//!
//! Policies, verdicts and manifests compare names as text, so there must be one text for each
//! repository. The rules are those of the distribution project's references: a first part that
//! looks like a host is the registry, otherwise it is Docker Hub, whose one-part names are in
//! `library`.

use std::fmt;
use std::str::FromStr;

use crate::Error;

pub(crate) const DOCKER_HUB: &str = "docker.io";

/// A registry and a repository in it: `host[:port]/path`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    registry: String,
    path: String,
}

impl RepositoryName {
    /// The registry's host and port, such as `registry.example.com:5000` or `docker.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry, such as `hospital/odoo`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A name whose parts are known to be valid, as they are.
    pub(crate) fn at(registry: &str, path: String) -> Self {
        Self { registry: registry.to_owned(), path }
    }

    /// The host and port to ask: Docker Hub's name is not that of its registry.
    pub(crate) fn address(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }
}

impl FromStr for RepositoryName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Name { text: text.chars().take(300).collect(), why };
        let length = "with its registry it must have 1 to 255 characters";
        if text.is_empty() || text.len() > 255 {
            return Err(wrong(length));
        }
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first.to_ascii_lowercase(), rest),
            _ => (DOCKER_HUB.to_owned(), text),
        };
        if !valid_host(&registry) {
            return Err(wrong("the part before the first slash is not a host[:port]"));
        }
        if !path.split('/').all(valid_component) {
            return Err(wrong(
                "each part of the path is lower-case letters and digits, joined by dots, dashes \
                 or underscores",
            ));
        }
        let hub = matches!(registry.as_str(), DOCKER_HUB | "index.docker.io");
        let name = match (hub, path.contains('/')) {
            (true, false) => Self { registry: DOCKER_HUB.into(), path: format!("library/{path}") },
            (true, true) => Self { registry: DOCKER_HUB.into(), path: path.to_owned() },
            (false, _) => Self { registry, path: path.to_owned() },
        };
        // A short name grows: what is compared and written down is the whole one.
        if name.registry.len() + 1 + name.path.len() > 255 {
            return Err(wrong(length));
        }
        Ok(name)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

pub(crate) fn valid_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(|port| !digits(port) || port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (distribution specification, names).
pub(crate) fn valid_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
    let bytes = component.as_bytes();
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && separators.filter(|separator| !separator.is_empty()).all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_canonical_form() {
        let cases = [
            ("redis", "docker.io/library/redis"),
            ("bitnami/redis", "docker.io/bitnami/redis"),
            ("docker.io/redis", "docker.io/library/redis"),
            ("index.docker.io/library/redis", "docker.io/library/redis"),
            ("Registry.Example.com/hospital/odoo", "registry.example.com/hospital/odoo"),
            ("localhost/odoo", "localhost/odoo"),
            ("127.0.0.1:5000/hospital/odoo", "127.0.0.1:5000/hospital/odoo"),
            ("[::1]:5000/odoo", "[::1]:5000/odoo"),
            ("registry:5000/a__b/c--d.e", "registry:5000/a__b/c--d.e"),
        ];
        for (text, canonical) in cases {
            let name: RepositoryName = text.parse().unwrap();
            assert_eq!(name.to_string(), canonical);
            assert_eq!(canonical.parse::<RepositoryName>().unwrap(), name);
        }
    }

    #[test]
    fn a_name_is_as_long_as_its_canonical_form() {
        let fits = "a".repeat(255 - "docker.io/library/".len());
        let name: RepositoryName = fits.parse().unwrap();
        assert_eq!(name.to_string().parse::<RepositoryName>().unwrap(), name);
        assert!(format!("{fits}a").parse::<RepositoryName>().is_err());
        assert!(format!("example.com/{}", "a".repeat(244)).parse::<RepositoryName>().is_err());
    }

    #[test]
    fn tags_digests_urls_and_escapes_are_not_repository_names() {
        let cases = [
            "",
            "/",
            "example.com/",
            "example.com/Odoo",
            "example.com/odoo:17",
            "a b",
            "a//b",
            "example.com/odoo@sha256:00",
            "https://example.com/odoo",
            "example.com/../odoo",
            "example.com:99999/odoo",
            "user@example.com/odoo",
            "example.com/odoo?x",
            "a/-b",
            "example.com/a___b",
            "example..com/odoo",
            "example.com:/odoo",
            "example.com/od%2foo",
        ];
        for text in cases {
            assert!(text.parse::<RepositoryName>().is_err(), "{text} was accepted");
        }
    }
}
