//! What a pipeline shows to registries: its own pull secrets, before what the engine was started
//! with. They are read again now and then, since a cloud's token lives for hours only.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tidegate_outbound::{Keychain, Registry};
use tidegate_schemas::Pipeline;
use tokio::sync::Mutex;

use crate::world::PipelineKey;

/// How long pull secrets are used before they are read again.
const FRESH: Duration = Duration::from_mins(1);

/// The registry client of each pipeline.
pub struct Registries {
    client: Client,
    /// As the engine was started.
    own: Registry,
    kept: Mutex<HashMap<PipelineKey, Kept>>,
}

struct Kept {
    names: Vec<String>,
    at: Instant,
    registry: Registry,
}

impl Registries {
    /// `own` shows what the engine was started with.
    #[must_use]
    pub fn new(client: &Client, own: Registry) -> Self {
        Self { client: client.clone(), own, kept: Mutex::default() }
    }

    /// The registry client of a pipeline.
    ///
    /// # Errors
    /// One sentence, when a pull secret that the pipeline names cannot be read.
    pub async fn of(&self, key: &PipelineKey, pipeline: &Pipeline) -> Result<Registry, String> {
        let names = &pipeline.spec.pull_secrets;
        if names.is_empty() {
            return Ok(self.own.clone());
        }
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.get(key).filter(|k| k.names == *names && k.at.elapsed() < FRESH) {
            return Ok(kept.registry.clone());
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut keychain = Keychain::default();
        for name in names {
            let found = api.get_opt(name).await.map_err(|e| {
                format!("reading the pull secret {name} in {}: {e}; tidegate bootstrap prints the right that the engine needs", key.namespace)
            })?;
            let secret = found.ok_or_else(|| {
                format!("the pull secret {name} is not in {}: create it, or take it out of spec.pullSecrets", key.namespace)
            })?;
            keychain = keychain.and(&of_secret(name, secret)?);
        }
        let registry = self.own.showing(keychain);
        let now = Kept { names: names.clone(), at: Instant::now(), registry: registry.clone() };
        kept.insert(key.clone(), now);
        Ok(registry)
    }
}

/// The credentials of one Secret, of either type that Kubernetes has for them.
fn of_secret(name: &str, secret: Secret) -> Result<Keychain, String> {
    let mut data = secret.data.unwrap_or_default();
    if let Some(bytes) = data.remove(".dockerconfigjson") {
        return Keychain::docker_config(&bytes.0, name).map_err(|e| e.to_string());
    }
    if let Some(bytes) = data.remove(".dockercfg") {
        return Keychain::docker_cfg(&bytes.0, name).map_err(|e| e.to_string());
    }
    Err(format!(
        "the pull secret {name} has neither .dockerconfigjson nor .dockercfg; make it with kubectl create secret docker-registry"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_another_form_says_how_to_make_one() {
        let why = of_secret("registry", Secret::default()).unwrap_err();
        assert!(why.contains("kubectl create secret docker-registry"), "{why}");
        let data =
            [(".dockerconfigjson", "{\"auths\": {\"registry.example.com\": {\"auth\": \"!\"}}}")];
        let data = data.map(|(k, v)| (k.to_owned(), k8s_openapi::ByteString(v.into())));
        let broken = Secret { data: Some(data.into()), ..Secret::default() };
        let why = of_secret("registry", broken).unwrap_err();
        assert!(why.contains("registry"), "{why}");
    }
}
