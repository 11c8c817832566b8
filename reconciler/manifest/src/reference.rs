//! Image references, read as container runtimes read them
//! (the grammar of `distribution/reference`, with its `docker.io/library` defaults).
//!
//! One repository has many spellings (`redis`, `docker.io/redis`,
//! `index.docker.io/library/redis`); trust and pinning go by the canonical one.

use crate::Error;
use tidegate_ids::Digest;

/// A reference to an image, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    registry: String,
    path: String,
    /// The tag, where one is stated.
    pub tag: Option<String>,
    /// The digest, where one is stated.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// The registry's host, with its port where it has one: `docker.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry: `library/redis`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The canonical repository: `docker.io/library/redis`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
}

impl std::str::FromStr for ImageReference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Reference { reference: text.chars().take(300).collect(), why };
        if text.len() > 600 {
            return Err(wrong("it is too long"));
        }
        let (named, digest) = match text.split_once('@') {
            None => (text, None),
            Some((named, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    wrong("after @ stands sha256: and 64 lower-case hexadecimal digits")
                })?;
                (named, Some(digest))
            }
        };
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (named, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err(wrong("a tag has up to 128 letters, digits, '_', '.' and '-'"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)) {
            return Err(wrong("a registry is a host name, with a port where needed"));
        }
        if !path.split('/').all(is_component) {
            return Err(wrong(
                "a repository has lower-case letters, digits and single '.', '_' or '-' between them",
            ));
        }
        Ok(Self { registry: registry.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

/// A first component is a host when it could not be a path (distribution/reference).
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators: Vec<&str> =
        text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).collect();
    text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
        && separators
            .iter()
            .all(|s| matches!(*s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

impl std::fmt::Display for ImageReference {
    /// `docker.io/library/redis:7@sha256:…`, with what is stated.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_repository_is_one() {
        for (text, repository, tag) in [
            ("redis", "docker.io/library/redis", None),
            ("redis:7.4", "docker.io/library/redis", Some("7.4")),
            ("docker.io/redis", "docker.io/library/redis", None),
            ("index.docker.io/library/redis", "docker.io/library/redis", None),
            ("hospital/odoo:17", "docker.io/hospital/odoo", Some("17")),
            ("localhost/odoo", "localhost/odoo", None),
            ("127.0.0.1:5000/hospital/odoo:17.0", "127.0.0.1:5000/hospital/odoo", Some("17.0")),
            ("registry.example.com:5000/odoo", "registry.example.com:5000/odoo", None),
        ] {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!(image.repository(), repository, "{text}");
            assert_eq!(image.tag.as_deref(), tag, "{text}");
            assert_eq!(image.digest, None);
        }
        let digest = Digest::of(b"x");
        let text = format!("ghcr.io/a/b:1@{digest}");
        let image: ImageReference = text.parse().unwrap();
        assert_eq!((image.digest, image.to_string()), (Some(digest), text));
    }

    #[test]
    fn what_runtimes_refuse_is_refused() {
        for text in [
            "",
            "a b",
            "A/b/C",
            "redis:",
            "redis:a/b:",
            "redis@sha256:12",
            "redis@md5:aa",
            "a//b",
            "a..b",
            "-a",
            "a_",
            "a___b",
            "http://a/b",
            "redis:7@",
            "a/b\n",
            "red is:1",
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?} was accepted");
        }
    }
}
