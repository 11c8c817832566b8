//! A trust policy, read: which images, and what is asked of them.
//!
//! A [`TrustRule`] is a `TrustPolicy` with its keys and roots. Its only maker refuses empty lists,
//! unreadable keys and what nothing can satisfy, so that verification has no such case to decide:
//! the API server refuses most of it too, but a policy may also come from a file.

use serde_json::{Value, json};
use tidegate_ids::{Digest, canonical_json};
use tidegate_schemas::{TrustPolicySpec, TrustedRootRef};

use crate::Error;
use crate::attestation::{Attestation, Base};
use crate::exception::Exceptions;
use crate::materials::Materials;
use crate::pattern::ImagePattern;
use crate::requirement::Requirement;
use crate::revocation::Revoked;
use crate::roots::Roots;

/// A `TrustPolicy`, ready to be applied.
#[derive(Clone)]
pub struct TrustRule {
    pub(crate) policy: String,
    pub(crate) images: Vec<ImagePattern>,
    pub(crate) require: Vec<Requirement>,
    pub(crate) attestations: Vec<Attestation>,
    pub(crate) base: Option<Base>,
    pub(crate) roots: Roots,
    pub(crate) roots_digest: Digest,
    pub(crate) exceptions: Exceptions,
    pub(crate) revoked: Vec<Revoked>,
    /// All that it asks of every image it names, and all that it revokes.
    pub(crate) digests: Digests,
}

/// What a rule says, as digests: they are made once, and compared at each look at an image.
#[derive(Clone, Copy)]
pub(crate) struct Digests {
    pub(crate) demands: Digest,
    /// None where it revokes nothing.
    pub(crate) revoked: Option<Digest>,
}

impl TrustRule {
    /// The rule that a `TrustPolicy` of this name states.
    ///
    /// # Errors
    /// When something in it cannot be read or is not there, or nothing could satisfy it.
    pub fn from_policy(
        name: &str,
        spec: &TrustPolicySpec,
        materials: &impl Materials,
    ) -> Result<Self, Error> {
        let empty = |what| Error::Empty { policy: name.to_owned(), what };
        let images: Vec<ImagePattern> =
            spec.images.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        if images.is_empty() {
            return Err(empty("spec.images"));
        }
        if spec.require.is_empty() && spec.static_.is_empty() && spec.revoked.is_empty() {
            return Err(empty("spec.require"));
        }
        let roots = roots(name, &spec.roots, materials)?;
        let requirement = |one| Requirement::new(name, one, &roots, materials);
        let require: Vec<_> = spec.require.iter().map(requirement).collect::<Result<_, _>>()?;
        let signers: Vec<_> = require.iter().flat_map(|one| one.any_of().to_vec()).collect();
        if require.is_empty() && (!spec.attestations.is_empty() || spec.base.is_some()) {
            return Err(empty("spec.require"));
        }
        let attestation = |one| Attestation::new(name, one, &signers, &roots, materials);
        Self {
            policy: name.to_owned(),
            images,
            attestations: spec.attestations.iter().map(attestation).collect::<Result<_, _>>()?,
            base: spec.base.as_ref().map(|one| Base::new(one, &signers)).transpose()?,
            require,
            exceptions: Exceptions::new(name, &spec.static_)?,
            revoked: Revoked::all(name, spec)?,
            roots_digest: roots.digest()?,
            roots,
            digests: Digests::nothing(),
        }
        .digested()
    }

    /// Only what a `TrustPolicy` revokes: for one that cannot be applied otherwise. It lets no
    /// image run.
    ///
    /// # Errors
    /// When a revocation cannot be read. Then nothing may run until it is mended.
    pub fn revocations(name: &str, spec: &TrustPolicySpec) -> Result<Self, Error> {
        Self {
            policy: name.to_owned(),
            images: Vec::new(),
            require: Vec::new(),
            attestations: Vec::new(),
            base: None,
            roots: Roots::default(),
            roots_digest: Roots::default().digest()?,
            exceptions: Exceptions::default(),
            revoked: Revoked::all(name, spec)?,
            digests: Digests::nothing(),
        }
        .digested()
    }

    /// The same rule with the digests of what it says.
    fn digested(self) -> Result<Self, Error> {
        let revoked: Vec<_> = self.revoked.iter().map(Revoked::canonical).collect();
        let digests = Digests {
            demands: digest_of(self.canonical())?,
            revoked: (!revoked.is_empty()).then(|| digest_of(revoked.into())).transpose()?,
        };
        Ok(Self { digests, ..self })
    }

    pub(crate) fn without_revocations(self) -> Self {
        let digests = Digests { revoked: None, ..self.digests };
        Self { revoked: Vec::new(), digests, ..self }
    }

    /// The policy's name.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Whether the rule says what this image (canonical registry and repository) must prove. One
    /// that only revokes does not: it lets nothing run.
    #[must_use]
    pub fn names(&self, repository: &str) -> bool {
        let asks = !self.require.is_empty() || !self.exceptions.is_empty();
        asks && self.images.iter().any(|pattern| pattern.matches(repository))
    }

    /// All that it asks of every image it names.
    fn canonical(&self) -> Value {
        let require: Vec<_> = self.require.iter().map(Requirement::canonical).collect();
        let attestations: Vec<_> = self.attestations.iter().map(Attestation::canonical).collect();
        json!({
            "policy": self.policy,
            "require": require,
            "attestations": attestations,
            "base": self.base.as_ref().map(Base::canonical),
            "roots": self.roots_digest,
        })
    }
}

impl Digests {
    fn nothing() -> Self {
        Self { demands: Digest::of(b""), revoked: None }
    }
}

fn digest_of(value: Value) -> Result<Digest, Error> {
    Digest::tagged("tidegate-trust-rule/v1", &sorted(value)?)
        .map_err(|error| Error::Canonical(error.to_string()))
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

fn roots(
    policy: &str,
    stated: &[TrustedRootRef],
    materials: &impl Materials,
) -> Result<Roots, Error> {
    let mut roots = Roots::default();
    for one in stated {
        let next = match (one.public_good, &one.config_map) {
            (Some(true), None) => Roots::public_good()?,
            (None, Some(name)) => {
                let missing =
                    || Error::ConfigMap { policy: policy.to_owned(), config_map: name.clone() };
                Roots::from_json(name, &materials.config_map(name).ok_or_else(missing)?)?
            }
            _ => {
                let why = "name exactly one of publicGood: true and configMap";
                let (policy, what) = (policy.to_owned(), "spec.roots[]");
                return Err(Error::Impossible { policy, what, why });
            }
        };
        roots = roots.joined(next);
    }
    Ok(roots)
}
