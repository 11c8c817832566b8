//! Verdicts: the trust policies in force, and each image verified once under them.
//!
//! A verdict is remembered by image and rules; a Release carries it too, so that after a restart
//! nothing has to be fetched again as long as the rules stand and nothing in it has ended.

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_ids::Digest;
use tidegate_outbound::{Found, Images, Registry};
use tidegate_provenance::{
    Attached, Gathered, ImagePattern, ImageRef, KEY_ENTRY, Needed, Outcome, ROOT_ENTRY, Subject,
    TrustRule,
};
use tidegate_schemas::{TrustPolicy, TrustPolicySpec, Verdict};
use tokio::sync::Mutex;

/// How many verdicts are remembered.
const KEPT: usize = 10_000;
/// How long keys and roots are used before they are read again.
const MATERIALS_FRESH: std::time::Duration = std::time::Duration::from_secs(30);
/// How many images of one release are verified at the same time.
const AT_ONCE: usize = 16;

/// The rules in force.
#[derive(Clone)]
pub struct Rules {
    stated: Arc<tidegate_provenance::Rules>,
    /// Policies that cannot be read, and why: whatever they name waits.
    broken: Arc<Vec<Broken>>,
}

/// A policy that cannot be read.
struct Broken {
    /// What it names; everything, where even that or what it revokes cannot be read.
    images: Option<Vec<ImagePattern>>,
    why: String,
}

impl Broken {
    fn names(&self, repository: &str) -> bool {
        self.images.as_ref().is_none_or(|images| images.iter().any(|i| i.matches(repository)))
    }
}

impl Rules {
    /// The rules of these policies, with the keys and roots they refer to.
    #[must_use]
    pub fn of(policies: &[Arc<TrustPolicy>], materials: &Gathered) -> Self {
        let mut rules = Vec::new();
        let mut broken = Vec::new();
        for policy in policies {
            let (name, spec) = (policy.name_any(), &policy.spec);
            match TrustRule::from_policy(&name, spec, materials) {
                Ok(rule) => rules.push(rule),
                Err(error) => {
                    let revocations = TrustRule::revocations(&name, spec).ok();
                    let images = revocations.as_ref().and_then(|_| patterns(spec));
                    broken.push(Broken { images, why: error.of_policy(&name) });
                    rules.extend(revocations);
                }
            }
        }
        let stated = Arc::new(tidegate_provenance::Rules::new(rules));
        Self { stated, broken: Arc::new(broken) }
    }

    /// What they say of an image now, by what is attached to it.
    ///
    /// # Errors
    /// One sentence, when a policy that names the image cannot be read.
    pub fn judge(
        &self,
        subject: &Subject,
        attached: &[Attached],
        now: Timestamp,
    ) -> Result<Outcome, String> {
        self.whole(&subject.image)?;
        Ok(tidegate_provenance::verify(subject, attached, &self.stated, now))
    }

    /// Whether every policy that names the image could be read.
    fn whole(&self, image: &ImageRef) -> Result<(), String> {
        let broken = self.broken.iter().find(|one| one.names(&image.repository));
        broken.map_or(Ok(()), |broken| Err(broken.why.clone()))
    }

    /// The same rules as if nothing were revoked, to tell a revocation from every other failure;
    /// nothing where nothing is revoked.
    #[must_use]
    pub fn without_revocations(&self) -> Option<Self> {
        let stated = Arc::new(self.stated.without_revocations()?);
        Some(Self { stated, broken: self.broken.clone() })
    }

    /// The digest of everything that is asked of this image.
    #[must_use]
    pub fn digest(&self, image: &ImageRef) -> Option<Digest> {
        self.stated.digest_for(image).ok()
    }
}

fn patterns(spec: &TrustPolicySpec) -> Option<Vec<ImagePattern>> {
    spec.images.iter().map(|image| image.parse().ok()).collect()
}

/// Verifies images, each once under the same rules.
pub struct Verdicts {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
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

/// What is asked about one image.
#[derive(Clone)]
pub struct Asked {
    /// The image.
    pub image: ImageRef,
    /// The verdict that a Release carries.
    pub recorded: Option<Verdict>,
}

impl Verdicts {
    /// Keys and roots of trust policies are in the engine's namespace.
    #[must_use]
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            known: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// The trust policies with the keys and roots they name, read again when a policy changed or
    /// what they name may have.
    pub async fn rules(&self, policies: &[Arc<TrustPolicy>]) -> Rules {
        let mut policies = policies.to_vec();
        policies.sort_by_key(|p| p.name_any());
        let of: Vec<_> = policies.iter().map(|p| (p.name_any(), p.resource_version())).collect();
        let mut last = self.last.lock().await;
        let fresh = |r: &&ReadRules| r.of == of && r.at.elapsed() < MATERIALS_FRESH;
        if let Some(read) = last.as_ref().filter(fresh) {
            return read.rules.clone();
        }
        let rules = Rules::of(&policies, &self.materials(&policies).await);
        *last = Some(ReadRules { of, at: std::time::Instant::now(), rules: rules.clone() });
        rules
    }

    /// What the policies refer to; what is missing is told by the rule that needs it.
    async fn materials(&self, policies: &[Arc<TrustPolicy>]) -> Gathered {
        let mut found = Gathered::default();
        for needed in policies.iter().map(|policy| Needed::by(&policy.spec)) {
            for name in needed.secrets {
                let secret = self.secrets.get_opt(&name).await.ok().flatten();
                let pem = secret.and_then(|s| s.data?.remove(KEY_ENTRY));
                let pem = pem.map(|pem| String::from_utf8_lossy(&pem.0).into_owned());
                found.secrets.extend(pem.map(|pem| (name, pem)));
            }
            for name in needed.config_maps {
                let map = self.config_maps.get_opt(&name).await.ok().flatten();
                let root = map.and_then(|m| m.data?.remove(ROOT_ENTRY));
                found.config_maps.extend(root.map(|root| (name, root)));
            }
        }
        found
    }

    /// The verdict on an image under these rules. The registry is asked only where no verdict
    /// stands; without a client for it, for the reason given, nothing new can be told.
    ///
    /// # Errors
    /// One sentence, when it cannot be told now: the registry does not answer, or a policy cannot
    /// be read.
    pub async fn verdict(
        &self,
        registry: &Result<Registry, String>,
        rules: &Rules,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Verdict, String> {
        let Asked { image, recorded } = asked;
        rules.whole(image)?;
        let digest = rules.digest(image).ok_or("the trust policies have no digest")?;
        let stands =
            |v: &&Verdict| v.rules == Some(digest) && v.until.is_none_or(|until| now < until);
        if let Some(recorded) = recorded.as_ref().filter(stands) {
            return Ok(recorded.clone());
        }
        let key = ((image.repository.clone(), image.digest), digest);
        if let Some(known) = self.known.lock().await.get(&key).filter(stands) {
            return Ok(known.clone());
        }
        let registry = registry.as_ref().map_err(Clone::clone)?;
        let name = image.repository.parse().map_err(|e: tidegate_outbound::Error| e.to_string())?;
        let images = Images::from(registry.repository(name));
        let Evidence { subject, attached, .. } = evidence(&images, image).await?;
        let outcome = rules.judge(&subject, &attached, now)?;
        let verdict = Verdict { rules: Some(digest), ..outcome.verdict.record() };
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

    /// The verdicts on several images, in their order; a bounded number is verified at a time.
    pub async fn verdicts(
        &self,
        registry: &Result<Registry, String>,
        rules: &Rules,
        asked: &[Asked],
        now: Timestamp,
    ) -> Vec<Result<Verdict, String>> {
        let looks = asked.iter().map(|asked| self.verdict(registry, rules, asked, now).boxed());
        let looks: Vec<_> = looks.collect();
        futures::stream::iter(looks).buffered(AT_ONCE).collect().await
    }
}

/// What is known of an image before anybody judges it.
pub struct Evidence {
    /// The image, and what it says of itself.
    pub subject: Subject,
    /// Everything that is attached to it.
    pub attached: Vec<Attached>,
    /// Whether it is an index, with an image for each platform.
    pub index: bool,
}

/// Reads what an image says of itself, and everything that is attached to it.
///
/// # Errors
/// One sentence, when it cannot be read now.
pub async fn evidence(images: &Images, image: &ImageRef) -> Result<Evidence, String> {
    let (manifest, found) =
        tokio::try_join!(images.manifest(image.digest), images.attached(image.digest))
            .map_err(|e| e.to_string())?;
    let annotations = manifest.annotations().clone();
    let attached = found.into_iter().map(|found| match found {
        Found::Bundle { digest, json } => Attached::Bundle { digest, json },
        Found::Layer { digest, media_type, content, annotations } => {
            Attached::Layer { digest, media_type, content, annotations }
        }
        Found::Unreadable { digest, why } => Attached::Unreadable { digest, why },
    });
    Ok(Evidence {
        subject: Subject { image: image.clone(), annotations },
        attached: attached.collect(),
        index: manifest.is_index(),
    })
}
