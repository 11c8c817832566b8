//! Where a build's source is, as provenance writes it: `git+https://host/path.git@ref`,
//! `https://host/path.git#ref:folder` (`BuildKit`), or a plain URL.
//!
//! Two texts name one repository when they are equal after `git+`, a trailing `.git`, the ref and
//! the host's letter case are set aside. Nothing else is: a path's case, a trailing slash and a
//! port count, since forges may tell them apart.

use std::fmt;

/// A repository, and the ref where one is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// `scheme://host/path`.
    pub(crate) repository: String,
    /// Such as `refs/heads/main`.
    pub(crate) ref_: Option<String>,
}

impl std::str::FromStr for Source {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = text.strip_prefix("git+").unwrap_or(text);
        let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("it is no URL");
        }
        let (host, path) = rest.split_once('/').ok_or("it has no path")?;
        if host.contains('@') && scheme != "ssh" {
            return Err("it has a user name in it");
        }
        if host.is_empty() || path.contains('?') || text.chars().any(char::is_control) {
            return Err("it is not the plain URL of a repository");
        }
        let (path, ref_) = match (path.split_once('#'), path.split_once('@')) {
            (Some((_, fragment)), _) if fragment.contains('#') => {
                return Err("it has two fragments");
            }
            (Some((path, _)), _) if path.contains('@') => return Err("it has two refs"),
            (Some((path, fragment)), _) => {
                (path, fragment.split_once(':').map_or(fragment, |(ref_, _)| ref_))
            }
            (None, Some((path, ref_))) => (path, ref_),
            (None, None) => (path, ""),
        };
        let path = path.strip_suffix(".git").unwrap_or(path);
        if path.is_empty() {
            return Err("it has no path");
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let ref_ = (!ref_.is_empty()).then(|| ref_.to_owned());
        Ok(Self { repository: format!("{scheme}://{host}/{path}"), ref_ })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ref_ {
            Some(ref_) => write!(f, "{}@{ref_}", self.repository),
            None => f.write_str(&self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn one_repository_is_written_in_several_ways() {
        for (text, ref_) in [
            ("git+https://github.com/hospital/odoo@refs/heads/main", Some("refs/heads/main")),
            ("git+https://github.com/hospital/odoo.git@refs/tags/v1", Some("refs/tags/v1")),
            ("https://github.com/hospital/odoo.git#refs/tags/v1:images/odoo", Some("refs/tags/v1")),
            ("https://github.com/hospital/odoo.git#:images", None),
            ("https://GitHub.com/hospital/odoo", None),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.repository, "https://github.com/hospital/odoo", "{text}");
            assert_eq!(source.ref_.as_deref(), ref_, "{text}");
        }
    }

    #[test]
    fn another_repository_stays_another_one() {
        for text in [
            "https://github.com/hospital/odoo-evil",
            "https://github.com/hospital/odoo/",
            "https://github.com/Hospital/odoo",
            "https://github.com/hospital/odoo.git.git",
            "http://github.com/hospital/odoo",
            "https://github.com.evil.example/hospital/odoo",
            "https://github.com:444/hospital/odoo",
            "https://github.com/hospital/odoo%2F..%2Fother",
        ] {
            let source: Source = text.parse().unwrap();
            assert_ne!(source.repository, "https://github.com/hospital/odoo", "{text}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_no_source() {
        for text in [
            "",
            "hospital/odoo",
            "https://github.com",
            "https:///hospital/odoo",
            "https://github.com/.git",
            "https://github.com/hospital/odoo@hospital#refs/heads/main",
            "https://github.com@evil.example/hospital/odoo",
            "https://evil.example/?x=https://github.com/hospital/odoo",
            "https://github.com/hospital/odoo#a#b",
            "git+://github.com/hospital/odoo",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
