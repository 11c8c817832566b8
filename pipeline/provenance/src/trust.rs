//! Trust rules: which images, and who must have signed them.
//!
//! A [`TrustRule`] is a `TrustPolicy` with its keys read. Its fields are private and its makers
//! refuse empty lists and unreadable keys, so that verification has no such case to decide.

use std::fmt;

use tidegate_ids::Digest;
use tidegate_schemas::TrustPolicySpec;

use crate::{Authority, Error};

/// A `TrustPolicy`, ready to be applied.
#[derive(Debug, Clone)]
pub struct TrustRule {
    policy: String,
    images: Vec<ImagePattern>,
    require: Vec<Requirement>,
}

impl TrustRule {
    /// A rule from its parts.
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no image pattern or no requirement.
    pub fn new(
        policy: &str,
        images: Vec<ImagePattern>,
        require: Vec<Requirement>,
    ) -> Result<Self, Error> {
        let empty = |what| Error::Empty { policy: policy.to_owned(), what };
        if images.is_empty() {
            return Err(empty("spec.images"));
        }
        if require.is_empty() {
            return Err(empty("spec.require"));
        }
        if require.iter().any(|requirement| requirement.any_of.is_empty()) {
            return Err(empty("spec.require[].anyOf"));
        }
        Ok(Self { policy: policy.to_owned(), images, require })
    }

    /// The rule that a `TrustPolicy` states. `secret` gives the `cosign.pub` of a Secret in the
    /// engine's namespace.
    ///
    /// # Errors
    /// When a pattern or key cannot be read, a Secret is missing, or a list is empty.
    pub fn from_policy(
        policy: &str,
        spec: &TrustPolicySpec,
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let images = spec.images.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let authority = |key: &tidegate_schemas::KeyAuthority| match (&key.pem, &key.secret) {
            (Some(pem), _) => {
                let name = "in spec.require[].anyOf[].key.pem";
                Authority::key(name, pem, key.log, key.valid_from, key.valid_until)
                    .map(Authority::named_by_fingerprint)
            }
            (None, Some(name)) => {
                let pem = secret(name).ok_or_else(|| Error::Secret {
                    policy: policy.to_owned(),
                    secret: name.clone(),
                })?;
                Authority::key(name, &pem, key.log, key.valid_from, key.valid_until)
            }
            (None, None) => Err(Error::Empty { policy: policy.to_owned(), what: "anyOf[].key" }),
        };
        let requirement = |requirement: &tidegate_schemas::Requirement| {
            let any_of = requirement.any_of.iter().map(|one| {
                let missing = Error::Empty { policy: policy.to_owned(), what: "anyOf[].key" };
                authority(one.key.as_ref().ok_or(missing)?)
            });
            Ok(Requirement { any_of: any_of.collect::<Result<_, Error>>()? })
        };
        let require = spec.require.iter().map(requirement).collect::<Result<_, Error>>()?;
        Self::new(policy, images, require)
    }

    /// The policy's name.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Whether the rule is about this image (canonical registry and repository).
    #[must_use]
    pub fn names(&self, repository: &str) -> bool {
        self.images.iter().any(|pattern| pattern.matches(repository))
    }

    pub(crate) fn require(&self) -> &[Requirement] {
        &self.require
    }
}

/// One of these must have signed.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The authorities to choose from.
    pub any_of: Vec<Authority>,
}

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

/// What the rules demand, as one digest (`tidegate-trust/v1`): a verdict dies when it changes.
/// Neither the order of the rules nor that of their lists matters.
///
/// # Errors
/// [`Error::Canonical`]; does not happen for rules that could be made.
pub fn policy_digest(rules: &[TrustRule]) -> Result<Digest, Error> {
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let requirement = |requirement: &Requirement| {
        let keys = requirement.any_of.iter();
        sorted(keys.map(|key| key.canonical().to_string()).collect())
    };
    let mut demands: Vec<_> = rules
        .iter()
        .map(|rule| {
            let mut require: Vec<_> = rule.require.iter().map(requirement).collect();
            require.sort();
            let images = sorted(rule.images.iter().map(ToString::to_string).collect());
            (rule.policy.clone(), images, require)
        })
        .collect();
    demands.sort();
    Digest::tagged("tidegate-trust/v1", &demands)
        .map_err(|error| Error::Canonical(error.to_string()))
}
