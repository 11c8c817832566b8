//! Where a repository is asked for.
//!
//! A name in policies, verdicts and manifests is canonical and stays so. An alias says that its
//! registry is another one from here (a proxy cache, a registry behind a gap); a mirror is asked
//! first, and the registry itself stays the last word. A mirror is trusted with nothing: content
//! is asked for by digest, and hiding a signature makes an image run less, not more.

use std::fmt;
use std::str::FromStr;

use crate::name::{DOCKER_HUB, valid_component, valid_host};
use crate::{Error, RepositoryName};

/// `from=to`: repositories below `from` are at `to`. Both are `host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    from: Prefix,
    to: Prefix,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    registry: String,
    /// Without slashes at its ends; empty for the whole registry.
    path: String,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (registry, path) = text.split_once('/').unwrap_or((text, ""));
        let registry = registry.to_ascii_lowercase();
        let valid =
            valid_host(&registry) && (path.is_empty() || path.split('/').all(valid_component));
        let hub = registry == "index.docker.io";
        let registry = if hub { DOCKER_HUB.to_owned() } else { registry };
        valid.then(|| Self { registry, path: path.to_owned() })
    }

    /// What follows this prefix in a name, where it has it.
    fn rest<'a>(&self, name: &'a RepositoryName) -> Option<&'a str> {
        if name.registry() != self.registry {
            return None;
        }
        if self.path.is_empty() {
            return Some(name.path());
        }
        let rest = name.path().strip_prefix(&self.path)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}", self.registry, self.path)
    }
}

impl Mirror {
    /// The name of a repository at the other place.
    fn of(&self, name: &RepositoryName) -> Option<RepositoryName> {
        let rest = self.from.rest(name)?;
        let parts = [self.to.path.as_str(), rest];
        let path: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        (!path.is_empty()).then(|| RepositoryName::at(&self.to.registry, path.join("/")))
    }
}

impl FromStr for Mirror {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('=').and_then(|(from, to)| {
            Some(Self { from: Prefix::parse(from)?, to: Prefix::parse(to)? })
        });
        parsed.ok_or_else(|| Error::Option {
            what: "a registry's other place",
            text: text.chars().take(300).collect(),
            way_out: "write from=to, each host[:port] or host[:port]/path, such as \
                 docker.io=harbor.example.com/hub",
        })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

/// The places to ask for a repository, in order; the last one is the last word.
pub(crate) fn places(
    name: &RepositoryName,
    mirrors: &[Mirror],
    aliases: &[Mirror],
) -> Vec<RepositoryName> {
    let alias = aliases
        .iter()
        .filter_map(|alias| Some((alias.from.path.len(), alias.of(name)?)))
        .reduce(|best, one| if one.0 > best.0 { one } else { best });
    let last = alias.map_or_else(|| name.clone(), |(_, place)| place);
    mirrors.iter().filter_map(|mirror| mirror.of(name)).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_replaces_and_mirrors_come_first() {
        let parse = |texts: &[&str]| -> Vec<Mirror> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let aliases = parse(&["ghcr.io=harbor.local/ghcr", "ghcr.io/hospital=10.0.0.5:5000"]);
        let mirrors = parse(&[
            "docker.io=harbor.local/hub",
            "docker.io/library=mirror.local",
            "index.docker.io/library/redis=cache.local/r",
        ]);
        let cases = [
            (
                "redis",
                vec![
                    "harbor.local/hub/library/redis",
                    "mirror.local/redis",
                    "cache.local/r",
                    "docker.io/library/redis",
                ],
            ),
            ("ghcr.io/else/odoo", vec!["harbor.local/ghcr/else/odoo"]),
            ("ghcr.io/hospital/odoo", vec!["10.0.0.5:5000/odoo"]),
            ("ghcr.io/hospitality/odoo", vec!["harbor.local/ghcr/hospitality/odoo"]),
            ("quay.io/a/b", vec!["quay.io/a/b"]),
        ];
        for (name, expected) in cases {
            let places = places(&name.parse().unwrap(), &mirrors, &aliases);
            let texts: Vec<_> = places.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected, "{name}");
        }
        for text in ["", "a", "a=", "=b", "https://a=b", "a=b:x", "a/B=c"] {
            assert!(text.parse::<Mirror>().is_err(), "{text} was accepted");
        }
    }
}
