//! Every trust policy in force, ready to be applied.

use serde_json::{Value, json};
use tidegate_ids::{Digest, canonical_json};

use crate::Error;
use crate::revocation::Revoked;
use crate::trust::TrustRule;
use crate::verdict::ImageRef;

/// Every trust policy in force. Their order never matters.
#[derive(Clone, Default)]
pub struct Rules(Vec<TrustRule>);

impl Rules {
    /// These policies.
    #[must_use]
    pub fn new(mut rules: Vec<TrustRule>) -> Self {
        rules.sort_by(|a, b| a.policy().cmp(b.policy()));
        Self(rules)
    }

    /// Those that say what this image (canonical registry and repository) must prove; where there
    /// are none, it does not run.
    pub fn naming(&self, repository: &str) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(move |rule| rule.names(repository))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter()
    }

    /// The same policies as if they revoked nothing; nothing where they do not.
    #[must_use]
    pub fn without_revocations(&self) -> Option<Self> {
        self.revoked().next()?;
        let pardoned = self.0.iter().cloned().map(TrustRule::without_revocations);
        Some(Self(pardoned.collect()))
    }

    pub(crate) fn revoked(&self) -> impl Iterator<Item = &Revoked> {
        self.0.iter().flat_map(|rule| &rule.revoked)
    }

    /// All that is asked of this image and all that is revoked, as one digest
    /// (`tidegate-trust/v2`): a verdict on it stands as long as this does.
    ///
    /// # Errors
    /// [`Error::Canonical`]; does not happen for rules that could be made.
    pub fn digest_for(&self, image: &ImageRef) -> Result<Digest, Error> {
        let naming = self.naming(&image.repository).map(|rule| rule.canonical(image.digest));
        let revoked: Vec<_> = self.revoked().map(Revoked::canonical).collect();
        let demands = json!({"naming": naming.collect::<Vec<_>>(), "revoked": revoked});
        Digest::tagged("tidegate-trust/v2", &sorted(demands)?)
            .map_err(|error| Error::Canonical(error.to_string()))
    }
}

/// The same value with every list in one order: all lists of a policy are sets.
fn sorted(value: Value) -> Result<Value, Error> {
    Ok(match value {
        Value::Array(items) => {
            let keyed = items.into_iter().map(|item| {
                let item = sorted(item)?;
                let key = canonical_json(&item).map_err(|e| Error::Canonical(e.to_string()))?;
                Ok((key, item))
            });
            let mut keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            keyed.into_iter().map(|(_, item)| item).collect()
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((name, sorted(value)?)));
            Value::Object(fields.collect::<Result<_, Error>>()?)
        }
        other => other,
    })
}
