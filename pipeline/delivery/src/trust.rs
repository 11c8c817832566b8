//! Verdicts: the trust policies in force, and each image verified once under them.
//!
//! A verdict is remembered by digest and rules; a Release carries it too, so that
//! after a restart nothing has to be fetched again as long as the rules stand.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_ids::Digest;
use tidegate_outbound::Registry;
use tidegate_provenance::{ImageRef, TrustRule};
use tidegate_schemas::{TrustPolicy, Verdict};
use tokio::sync::Mutex;

/// How many verdicts are remembered.
const KEPT: usize = 10_000;

/// The rules in force.
#[derive(Clone)]
pub struct Rules {
    rules: Arc<Vec<TrustRule>>,
    /// Policies that cannot be read: whatever they name waits.
    broken: Arc<Vec<String>>,
}

impl Rules {
    /// The digest of the rules that name this image.
    #[must_use]
    pub fn digest(&self, image: &ImageRef) -> Option<Digest> {
        let naming: Vec<_> =
            self.rules.iter().filter(|r| r.names(&image.repository)).cloned().collect();
        tidegate_provenance::policy_digest(&naming).ok()
    }
}

/// Verifies images, each once under the same rules.
pub struct Verdicts {
    secrets: Api<Secret>,
    registry: Registry,
    known: Mutex<HashMap<(ImageKey, Digest), Verdict>>,
}

type ImageKey = (String, Digest);

impl Verdicts {
    /// Keys of trust policies are Secrets of the engine's namespace.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, registry: Registry) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            registry,
            known: Mutex::default(),
        }
    }

    /// Reads the trust policies and the keys they name.
    pub async fn rules(&self, policies: &[Arc<TrustPolicy>]) -> Rules {
        let mut rules = Vec::new();
        let mut broken = Vec::new();
        let mut policies = policies.to_vec();
        policies.sort_by_key(|p| p.name_any());
        for policy in &policies {
            let name = policy.name_any();
            let mut keys = HashMap::new();
            let named = policy
                .spec
                .require
                .iter()
                .flat_map(|r| &r.any_of)
                .filter_map(|a| a.key.secret.clone());
            for secret in named {
                if let Ok(Some(found)) = self.secrets.get_opt(&secret).await {
                    let pem = found.data.and_then(|mut data| data.remove("cosign.pub"));
                    keys.extend(
                        pem.map(|pem| (secret, String::from_utf8_lossy(&pem.0).into_owned())),
                    );
                }
            }
            match TrustRule::from_policy(&name, &policy.spec, |secret| keys.get(secret).cloned()) {
                Ok(rule) => rules.push(rule),
                Err(error) => broken.push(error.to_string()),
            }
        }
        Rules { rules: Arc::new(rules), broken: Arc::new(broken) }
    }

    /// The verdict on an image under these rules.
    ///
    /// # Errors
    /// One sentence, when it cannot be told now: the registry does not answer, or a policy cannot be read.
    pub async fn verdict(
        &self,
        rules: &Rules,
        image: &ImageRef,
        recorded: Option<&Verdict>,
        now: jiff::Timestamp,
    ) -> Result<Verdict, String> {
        if let Some(broken) = rules.broken.first() {
            return Err(broken.clone());
        }
        let digest = rules.digest(image).ok_or("the trust policies have no digest")?;
        if let Some(recorded) = recorded.filter(|v| v.rules == Some(digest)) {
            return Ok(recorded.clone());
        }
        let key = ((image.repository.clone(), image.digest), digest);
        if let Some(known) = self.known.lock().await.get(&key) {
            return Ok(known.clone());
        }
        let bundles = self.bundles(image).await?;
        let verdict = Verdict {
            rules: Some(digest),
            ..tidegate_provenance::verify(image, &bundles, &rules.rules, now).record()
        };
        // What failed may be signed later: only a pass is remembered.
        if verdict.passed {
            let mut known = self.known.lock().await;
            if known.len() >= KEPT {
                known.clear();
            }
            known.insert(key, verdict.clone());
        }
        Ok(verdict)
    }

    async fn bundles(&self, image: &ImageRef) -> Result<Vec<Vec<u8>>, String> {
        let name = image.repository.parse().map_err(|e: tidegate_outbound::Error| e.to_string())?;
        let repository = self.registry.repository(name, None);
        repository.bundles(image.digest).await.map_err(|e| e.to_string())
    }
}
