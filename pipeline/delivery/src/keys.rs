//! Signing keys: for each environment a Secret in the engine's namespace, which says where the
//! key is and which others count beside it. Where there is none, the engine makes one.
//!
//! A change of a Secret is followed by a watch of names and versions, so that a rotation takes
//! effect at once and no key is held that need not be. What a Secret only names, a file, is read
//! again now and then.

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_keys::{PREFIX, PRIVATE_KEY, Ring, Vault, secret_name};
use tidegate_source::SigningKey;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::Error;
use crate::world::Wake;

/// How long a Secret's content is used before it is read again.
const FRESH: Duration = Duration::from_secs(30);

/// The signing keys.
pub struct Keys {
    api: Api<Secret>,
    metadata: Api<PartialObjectMeta<Secret>>,
    vault: Arc<Vault>,
    read: Mutex<HashMap<String, (Instant, Ring)>>,
}

impl Keys {
    /// Keys in the engine's namespace; tokens are reached through this PKCS #11 module.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, module: Option<PathBuf>) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            metadata: Api::namespaced(client.clone(), namespace),
            vault: Arc::new(Vault::new(module)),
            read: Mutex::default(),
        }
    }

    /// The key that signs for this environment.
    ///
    /// # Errors
    /// As [`Keys::ring`].
    pub async fn of(&self, namespace: &str, environment: &str) -> Result<SigningKey, Error> {
        Ok(self.ring(namespace, environment).await?.signing)
    }

    /// The keys of this environment: the one that signs, and those that count beside it.
    ///
    /// # Errors
    /// When the Secret cannot be read or made, or what it names is no usable key.
    pub async fn ring(&self, namespace: &str, environment: &str) -> Result<Ring, Error> {
        let name = secret_name(namespace, environment);
        if let Some((at, ring)) = self.read.lock().await.get(&name)
            && at.elapsed() < FRESH
        {
            return Ok(ring.clone());
        }
        let found =
            self.api.get_opt(&name).await.map_err(Error::cluster(format!("Secret {name}")))?;
        let secret = match found {
            Some(secret) => secret,
            None => self.make(&name).await?,
        };
        let entries = secret.data.unwrap_or_default().into_iter();
        let entries: BTreeMap<String, Vec<u8>> = entries.map(|(k, v)| (k, v.0)).collect();
        let vault = Arc::clone(&self.vault);
        let opened = tokio::task::spawn_blocking(move || vault.open(&entries)).await;
        let ring = match opened {
            Ok(Ok(ring)) => ring,
            Ok(Err(error)) => return Err(Error::Key { secret: name, why: error.to_string() }),
            Err(error) => return Err(Error::Key { secret: name, why: error.to_string() }),
        };
        self.read.lock().await.insert(name, (Instant::now(), ring.clone()));
        Ok(ring)
    }

    /// Forgets what was read when a Secret of keys changes, and wakes whoever uses it.
    pub async fn follow(&self, wakes: &UnboundedSender<Wake>) {
        let changes = watcher(self.metadata.clone(), watcher::Config::default());
        let mut changes = std::pin::pin!(changes.default_backoff());
        while let Some(change) = changes.next().await {
            let concerns = match change {
                Ok(watcher::Event::Apply(secret) | watcher::Event::Delete(secret)) => {
                    secret.name_any().starts_with(PREFIX)
                }
                // After a gap, what was read may be old.
                Ok(watcher::Event::InitDone) => true,
                Ok(_) => false,
                Err(error) => {
                    tracing::warn!(%error, "the watch of signing keys broke off; it begins again");
                    true
                }
            };
            if concerns {
                self.read.lock().await.clear();
                if wakes.send(Wake::All).is_err() {
                    return;
                }
            }
        }
    }

    async fn make(&self, name: &str) -> Result<Secret, Error> {
        let key = SigningKey::generate().map_err(Error::git("making a signing key"))?;
        let text = key.to_openssh().map_err(Error::git("writing a signing key"))?;
        let secret = Secret {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            type_: Some("Opaque".to_owned()),
            data: Some(BTreeMap::from([(PRIVATE_KEY.to_owned(), ByteString(text.into_bytes()))])),
            ..Secret::default()
        };
        match self.api.create(&PostParams::default(), &secret).await {
            Ok(made) => Ok(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.api.get(name).await.map_err(Error::cluster(format!("Secret {name}")))
            }
            Err(error) => Err(Error::cluster(format!("Secret {name}"))(error)),
        }
    }
}
