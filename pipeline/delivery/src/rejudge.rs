//! What the rules in force say of images that are in use, looked at again whenever the rules
//! change: a verdict of yesterday is no excuse for what runs today.
//!
//! Verdicts that fail are remembered for a while, since what runs unverified is asked for in
//! every look and must not become a flood of requests. A failure by revocation is told apart
//! from every other by judging once more without the revocations: only revocation takes an
//! image from where it may run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tidegate_ids::Digest;
use tidegate_provenance::ImageRef;
use tidegate_schemas::TrustPolicy;

use crate::engine::Engine;
use crate::trust::{Asked, Rules};
use crate::verified::{Standing, of_release};
use crate::world::PipelineKey;

/// How long a failure is believed; what failed may have been signed meanwhile.
const FAILED: SignedDuration = SignedDuration::from_mins(5);
/// How long it is believed that it cannot be told.
const UNKNOWN: SignedDuration = SignedDuration::from_secs(30);
/// How many images are remembered.
const KEPT: usize = 10_000;

/// What was last found of images in use.
#[derive(Default)]
pub struct Judged(Mutex<HashMap<String, Known>>);

struct Known {
    rules: Option<Digest>,
    standing: Standing,
    /// Looked at again then, the rules being the same.
    until: Timestamp,
}

impl Judged {
    /// What the rules in force say of an image of a pipeline.
    pub async fn standing(
        &self,
        (engine, key): (&Engine, &PipelineKey),
        rules: &Rules,
        asked: &Asked,
        now: Timestamp,
    ) -> Standing {
        let image = &asked.image;
        let policies = engine.world.trust.state();
        if let Some(reason) = revoked(&policies, image.digest) {
            let standing = Standing::Revoked(reason);
            self.keep(image, None, standing.clone(), now);
            return standing;
        }
        let digest = rules.digest(image);
        if let Some(known) = self.known(image, digest, now) {
            return known;
        }
        let judged = engine.verdict(key, rules, asked, now).await;
        let (standing, until) = match judged {
            Err(why) => (Standing::Unknown(why), now + UNKNOWN),
            Ok(verdict) if verdict.passed => {
                (Standing::Passed, verdict.until.unwrap_or(Timestamp::MAX))
            }
            Ok(verdict) => {
                let why = verdict.reasons.join("; ");
                let pardoned = match rules.without_revocations() {
                    Some(rules) => engine.verdict(key, &rules, asked, now).await.ok(),
                    None => None,
                };
                let revoked = pardoned.is_some_and(|verdict| verdict.passed);
                let standing = if revoked { Standing::Revoked(why) } else { Standing::Failed(why) };
                (standing, now + FAILED)
            }
        };
        self.keep(image, digest, standing.clone(), until);
        standing
    }

    /// Whether an image of this release is known to be revoked or to fail now. The gates judge for
    /// themselves; this spares an automatic rollback a target that they would refuse.
    #[must_use]
    pub fn refuses(&self, engine: &Engine, namespace: &str, release: &str) -> bool {
        let Some(release) = engine.world.release(namespace, release) else { return false };
        let policies = engine.world.trust.state();
        let environments = release.spec.rendered.keys();
        let images = environments.flat_map(|e| of_release(&release, e.as_str()));
        images.into_iter().any(|image| {
            revoked(&policies, image.digest).is_some()
                || self.lock().get(&image.to_string()).is_some_and(|k| {
                    matches!(k.standing, Standing::Failed(_) | Standing::Revoked(_))
                })
        })
    }

    fn known(&self, image: &ImageRef, rules: Option<Digest>, now: Timestamp) -> Option<Standing> {
        let known = self.lock();
        let known = known.get(&image.to_string())?;
        (rules.is_some() && known.rules == rules && now < known.until)
            .then(|| known.standing.clone())
    }

    fn keep(&self, image: &ImageRef, rules: Option<Digest>, standing: Standing, until: Timestamp) {
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(image.to_string(), Known { rules, standing, until });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a digest is revoked, if a policy says so. No registry is asked.
fn revoked(policies: &[Arc<TrustPolicy>], digest: Digest) -> Option<String> {
    policies.iter().find_map(|policy| {
        let found = policy.spec.revoked.iter().find(|r| r.digest == Some(digest))?;
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        Some(format!("TrustPolicy {name} revokes this digest: {}", found.reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(revoked: &serde_json::Value) -> Arc<TrustPolicy> {
        let value = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "TrustPolicy", "metadata": {"name": "hospital"},
            "spec": {"images": ["registry.example.com/hospital/*"], "revoked": revoked},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_revoked_digest_is_known_without_asking_a_registry() {
        let (bad, good) = (Digest::of(b"bad"), Digest::of(b"good"));
        let policies = [
            policy(&json!([])),
            policy(&json!([{"digest": bad.to_string(), "reason": "stolen build key"}])),
        ];
        let why = revoked(&policies, bad).unwrap();
        assert_eq!(why, "TrustPolicy hospital revokes this digest: stolen build key");
        assert_eq!(revoked(&policies, good), None);
    }
}
