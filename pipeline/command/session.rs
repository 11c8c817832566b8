//! The cluster as the person: kubeconfig, context and namespace like kubectl, and the terminal.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Resource};

use crate::failure::{Failure, chain, from_api};
use crate::text::{paint, safe_lines};

/// Which cluster, as whom, and where.
#[derive(clap::Args, Debug, Clone)]
pub struct Connection {
    /// The kubeconfig; $KUBECONFIG or ~/.kube/config where nothing is said.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The namespace; that of the context where nothing is said.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
}

/// A connection.
pub struct Session {
    /// The person's own client.
    pub client: Client,
    /// Where commands look.
    pub namespace: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When there is no usable kubeconfig.
    pub async fn open(&self) -> Result<Session, Failure> {
        let hint = "name one with --kubeconfig or $KUBECONFIG, and a context with --context";
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let unreadable = |error: &dyn std::error::Error| {
            Failure::from(format!("reading the kubeconfig: {}; {hint}", chain(error)))
        };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let read = Kubeconfig::read_from(path).map_err(|e| unreadable(&e))?;
                kube::Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(|e| unreadable(&e))?
            }
            (None, Some(_)) => {
                kube::Config::from_kubeconfig(&options).await.map_err(|e| unreadable(&e))?
            }
            (None, None) => kube::Config::infer().await.map_err(|e| unreadable(&e))?,
        };
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| unreadable(&error))?;
        Ok(Session { client, namespace })
    }
}

impl Session {
    /// Objects of a namespaced kind, here.
    pub fn here<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of a cluster-scoped kind.
    pub fn cluster<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// One object by name, here.
    ///
    /// # Errors
    /// When it is not there or may not be read; the message says where it was looked for.
    pub async fn one<K>(&self, name: &str) -> Result<K, Failure>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let kind = K::kind(&());
        match self.here::<K>().get_opt(name).await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => Err(Failure::from(format!(
                "there is no {kind} {name} in the namespace {}: look with tidegate get {}, or name another namespace with -n",
                self.namespace,
                K::plural(&())
            ))),
            Err(error) => Err(from_api(&format!("reading the {kind} {name}"), &error)),
        }
    }
}

/// All objects that an API lists.
///
/// # Errors
/// When they may not be listed.
pub async fn list<K>(api: &Api<K>) -> Result<Vec<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let doing = format!("listing {}", K::plural(&()));
    Ok(api.list(&kube::api::ListParams::default()).await.map_err(|e| from_api(&doing, &e))?.items)
}

/// Prints; a reader that went away (`| head`) is no failure.
///
/// # Errors
/// When the output cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::from(format!("writing the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints text for people: safe for a terminal, and coloured on one.
///
/// # Errors
/// As for [`print`].
pub fn show(text: &str) -> Result<(), Failure> {
    let text = safe_lines(text);
    if colours() { print(&paint(&text)) } else { print(&text) }
}

/// Whether a person looks at the output (and did not set `NO_COLOR`, see no-color.org).
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
