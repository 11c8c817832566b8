//! Signing keys: one for each environment, a Secret in the engine's namespace
//! that the engine makes when it is not there.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, HashMap};
use tidegate_source::SigningKey;
use tokio::sync::Mutex;

use crate::Error;

/// The entry of the Secret that is the key, in OpenSSH form.
const ENTRY: &str = "ssh-privatekey";

/// The signing keys, each read once.
pub struct Keys {
    api: Api<Secret>,
    read: Mutex<HashMap<String, SigningKey>>,
}

impl Keys {
    /// Keys in the engine's namespace.
    #[must_use]
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), read: Mutex::default() }
    }

    /// The key that signs deploy commits of this environment.
    ///
    /// # Errors
    /// When the Secret cannot be read or made, or is no OpenSSH Ed25519 key.
    pub async fn of(&self, namespace: &str, environment: &str) -> Result<SigningKey, Error> {
        let name = format!("tidegate-signing-{namespace}-{environment}");
        let mut read = self.read.lock().await;
        if let Some(key) = read.get(&name) {
            return Ok(key.clone());
        }
        let found =
            self.api.get_opt(&name).await.map_err(Error::cluster(format!("Secret {name}")))?;
        let secret = match found {
            Some(secret) => secret,
            None => self.make(&name).await?,
        };
        let bytes = secret.data.unwrap_or_default().remove(ENTRY).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes.0);
        let key = SigningKey::from_openssh(&text).map_err(Error::git(format!(
            "reading the signing key in Secret {name}, entry {ENTRY}"
        )))?;
        read.insert(name, key.clone());
        Ok(key)
    }

    async fn make(&self, name: &str) -> Result<Secret, Error> {
        let key = SigningKey::generate().map_err(Error::git("making a signing key"))?;
        let text = key.to_openssh().map_err(Error::git("writing a signing key"))?;
        let secret = Secret {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            type_: Some("Opaque".to_owned()),
            data: Some(BTreeMap::from([(ENTRY.to_owned(), ByteString(text.into_bytes()))])),
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
