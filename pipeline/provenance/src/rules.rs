//! Every trust policy in force, ready to be applied.

use serde_json::json;
use tidegate_ids::Digest;

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
    /// (`tidegate-trust/v3`): a verdict on it stands as long as this does.
    ///
    /// # Errors
    /// [`Error::Canonical`]; does not happen for rules that could be made.
    pub fn digest_for(&self, image: &ImageRef) -> Result<Digest, Error> {
        let asks = |rule: &TrustRule| {
            let exceptions = rule.exceptions.entries(image.digest).map(|one| json!(one));
            let mut exceptions: Vec<_> = exceptions.collect();
            exceptions.sort_by_key(ToString::to_string);
            json!({"demands": rule.digests.demands, "static": exceptions})
        };
        let naming: Vec<_> = self.naming(&image.repository).map(asks).collect();
        let mut revoked: Vec<_> = self.0.iter().filter_map(|rule| rule.digests.revoked).collect();
        revoked.sort_unstable();
        Digest::tagged("tidegate-trust/v3", &json!({"naming": naming, "revoked": revoked}))
            .map_err(|error| Error::Canonical(error.to_string()))
    }
}
