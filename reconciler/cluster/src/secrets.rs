//! Named Secrets, read with the engine's own account.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::{Cluster, Error};

/// What a Secret holds. `Debug` shows its keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretData(BTreeMap<String, Vec<u8>>);

impl SecretData {
    /// The text under a key, without surrounding white space (files often end in a line feed).
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.0.get(key)?).ok()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Cluster {
    /// A Secret by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or when it may not be read.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<SecretData, Error> {
        let api = Api::<Secret>::namespaced(self.client(), namespace);
        let what = format!("Secret {namespace}/{name}");
        let secret = api.get(name).await.map_err(|error| Error::of("read", &what, "", &error))?;
        let data = secret.data.unwrap_or_default();
        Ok(SecretData(data.into_iter().map(|(key, bytes)| (key, bytes.0)).collect()))
    }
}
