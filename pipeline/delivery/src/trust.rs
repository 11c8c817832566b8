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
use tidegate_provenance::{ImagePattern, ImageRef, TrustRule};
use tidegate_schemas::{TrustPolicy, Verdict};
use tokio::sync::Mutex;

/// How many verdicts are remembered.
const KEPT: usize = 10_000;
/// How long keys from Secrets are used before they are read again.
const KEYS_FRESH: std::time::Duration = std::time::Duration::from_secs(30);

/// The rules in force.
#[derive(Clone)]
pub struct Rules {
    rules: Arc<Vec<TrustRule>>,
    /// Policies that cannot be read, and why: whatever they name waits.
    broken: Arc<Vec<Broken>>,
}

/// A policy that cannot be read.
struct Broken {
    /// What it names; everything, where even that cannot be read.
    images: Option<Vec<ImagePattern>>,
    why: String,
}

impl Broken {
    fn names(&self, repository: &str) -> bool {
        self.images.as_ref().is_none_or(|images| images.iter().any(|i| i.matches(repository)))
    }
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
    last: Mutex<Option<ReadRules>>,
}

/// The rules as they were last read.
struct ReadRules {
    /// Names and versions of the policies.
    of: Vec<(String, Option<String>)>,
    at: std::time::Instant,
    rules: Rules,
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
            last: Mutex::default(),
        }
    }

    /// The trust policies with the keys they name, read again when a policy changed or keys from
    /// Secrets may have.
    pub async fn rules(&self, policies: &[Arc<TrustPolicy>]) -> Rules {
        let mut policies = policies.to_vec();
        policies.sort_by_key(|p| p.name_any());
        let of: Vec<_> = policies.iter().map(|p| (p.name_any(), p.resource_version())).collect();
        let mut last = self.last.lock().await;
        if let Some(read) = last.as_ref().filter(|r| r.of == of && r.at.elapsed() < KEYS_FRESH) {
            return read.rules.clone();
        }
        let rules = self.read(&policies).await;
        *last = Some(ReadRules { of, at: std::time::Instant::now(), rules: rules.clone() });
        rules
    }

    async fn read(&self, policies: &[Arc<TrustPolicy>]) -> Rules {
        let mut rules = Vec::new();
        let mut broken = Vec::new();
        for policy in policies {
            let name = policy.name_any();
            let keys = self.keys(policy).await;
            match TrustRule::from_policy(&name, &policy.spec, |secret| keys.get(secret).cloned()) {
                Ok(rule) => rules.push(rule),
                Err(error) => broken.push(Broken {
                    images: policy.spec.images.iter().map(|i| i.parse().ok()).collect(),
                    why: format!("TrustPolicy {name}: {error}"),
                }),
            }
        }
        Rules { rules: Arc::new(rules), broken: Arc::new(broken) }
    }

    /// The keys of the Secrets that a policy names; what is missing is told by the rule that needs it.
    async fn keys(&self, policy: &TrustPolicy) -> HashMap<String, String> {
        let authorities = policy.spec.require.iter().flat_map(|r| &r.any_of);
        let mut keys = HashMap::new();
        for secret in authorities.filter_map(|a| a.key.as_ref()?.secret.clone()) {
            let found = self.secrets.get_opt(&secret).await.ok().flatten();
            let pem = found.and_then(|s| s.data?.remove("cosign.pub"));
            keys.extend(pem.map(|pem| (secret, String::from_utf8_lossy(&pem.0).into_owned())));
        }
        keys
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
        if let Some(broken) = rules.broken.iter().find(|b| b.names(&image.repository)) {
            return Err(broken.why.clone());
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
        let repository = self.registry.repository(name);
        repository.bundles(image.digest).await.map_err(|e| e.to_string())
    }
}
