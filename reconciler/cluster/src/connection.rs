//! Connections: one pool for each cluster, and identities on top of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tidegate_ids::AccountName;
use tidegate_schemas::DEPLOYERS_NAMESPACE;

use crate::Error;
use crate::discovery::Discovery;

/// A cluster, reached as the engine's own account. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    discovery: Arc<Discovery>,
    deployers: Mutex<HashMap<AccountName, Deployer>>,
}

/// The same connections under the identity of one deployer account, and no other.
#[derive(Clone)]
pub struct Deployer {
    client: Client,
    account: AccountName,
    pub(crate) discovery: Arc<Discovery>,
}

impl Cluster {
    /// Connects with a configuration of one's own. Nothing is asked of the server yet. Must be
    /// called inside a tokio runtime, and belongs to it.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn connect(mut config: Config) -> Result<Self, Error> {
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        let url = config.cluster_url.to_string();
        let builder = ClientBuilder::try_from(config)
            .map_err(|error| Error::Configuration { what: url, why: error.to_string() })?;
        let client = builder.build();
        let discovery = Arc::new(Discovery::new(client.clone()));
        Ok(Self { inner: Arc::new(Inner { client, discovery, deployers: Mutex::default() }) })
    }

    /// Connects as a kubeconfig says, or as the pod's own account where there is none.
    ///
    /// # Errors
    /// When neither can be read.
    pub async fn infer(kubeconfig: Option<&Path>) -> Result<Self, Error> {
        let unusable = |what: String| move |why: String| Error::Configuration { what, why };
        let config = match kubeconfig {
            Some(path) => {
                let unusable = unusable(path.display().to_string());
                let file =
                    Kubeconfig::read_from(path).map_err(|e| unusable.clone()(e.to_string()))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|e| unusable(e.to_string()))?
            }
            None => Config::infer()
                .await
                .map_err(|e| unusable("the environment's kubeconfig".to_owned())(e.to_string()))?,
        };
        Self::connect(config)
    }

    /// The engine's own account: for Tidegate's kinds, named Secrets and metadata.
    #[must_use]
    pub fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// The identity `system:serviceaccount:tidegate-deployers:<account>`.
    #[must_use]
    pub fn as_deployer(&self, account: &AccountName) -> Deployer {
        let mut known = self.inner.deployers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deployer) = known.get(account) {
            return deployer.clone();
        }
        let client = impersonating(self.inner.client.clone(), account);
        let discovery = Arc::clone(&self.inner.discovery);
        let deployer = Deployer { client, account: account.clone(), discovery };
        known.insert(account.clone(), deployer.clone());
        deployer
    }

    pub(crate) fn discovery(&self) -> &Discovery {
        &self.inner.discovery
    }

    /// The uid of the namespace `kube-system`, which stands for the cluster.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn uid(&self) -> Result<String, Error> {
        use k8s_openapi::api::core::v1::Namespace;
        let api = kube::Api::<Namespace>::all(self.client());
        let namespace = api
            .get_metadata("kube-system")
            .await
            .map_err(|error| Error::of("read", "Namespace kube-system", "", &error))?;
        Ok(namespace.metadata.uid.unwrap_or_default())
    }
}

impl Deployer {
    /// The account it acts as.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// The header names a service account, whose groups the API server adds itself.
fn impersonating(client: Client, account: &AccountName) -> Client {
    let user = format!("system:serviceaccount:{DEPLOYERS_NAMESPACE}:{account}");
    // An account name is an RFC 1123 label, so this never fails; if it did, the API server would
    // refuse the unknown user instead of letting the engine act as itself.
    let user = HeaderValue::from_str(&user)
        .unwrap_or_else(|_| HeaderValue::from_static("system:tidegate-no-account"));
    let as_user = move |mut request: Request<Body>| {
        request.headers_mut().insert("impersonate-user", user.clone());
        let client = client.clone();
        async move { client.send(request).await }
    };
    Client::new(tower::service_fn(as_user), "default")
}
