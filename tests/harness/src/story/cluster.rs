//! The API server as one of its users sees it: plain requests and plain JSON.
//!
//! What the story asserts is read from here and never through Tidegate's own types or plan, so
//! that a mistake in those cannot hide itself. Everything blocks: a story is told in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Failed;

/// Where Tidegate's namespaced objects of the clinic are.
pub(crate) const HOME: &str = "/apis/tidegate.dev/v1alpha1/namespaces/clinic";

/// A connection as one user.
pub struct Cluster {
    runtime: Runtime,
    client: kube::Client,
    kinds: Mutex<BTreeMap<(String, String), (String, bool)>>,
}

/// The API server's answer to something it did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status; 0 where no answer came.
    pub code: u16,
    /// Its words.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Whom an administrator pretends to be.
#[derive(Clone, Copy, Debug)]
pub struct Impersonated<'a> {
    /// The user name.
    pub user: &'a str,
    /// The groups.
    pub groups: &'a [&'a str],
}

impl Cluster {
    /// Connects with a kubeconfig.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(kubeconfig: &Path) -> Result<Self, Failed> {
        Self::open_as(kubeconfig, None)
    }

    /// Connects with a kubeconfig, in somebody else's name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_as(kubeconfig: &Path, other: Option<Impersonated<'_>>) -> Result<Self, Failed> {
        let wrong = |error: String| Failed(format!("reading {}: {error}", kubeconfig.display()));
        // The worker keeps connections alive between two requests.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failed(format!("starting a runtime: {error}")))?;
        let read = Kubeconfig::read_from(kubeconfig).map_err(|e| wrong(e.to_string()))?;
        let mut config = runtime
            .block_on(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()))
            .map_err(|e| wrong(e.to_string()))?;
        if let Some(other) = other {
            config.auth_info.impersonate = Some(other.user.to_owned());
            config.auth_info.impersonate_groups =
                Some(other.groups.iter().map(|&group| group.to_owned()).collect());
        }
        let client = runtime
            .block_on(async { kube::Client::try_from(config) })
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self { runtime, client, kinds: Mutex::default() })
    }

    /// One object or list; nothing where there is none.
    ///
    /// # Errors
    /// When the API server does not answer or refuses.
    pub fn find(&self, path: &str) -> Result<Option<Value>, Failed> {
        match self.request(Method::GET, path, "application/json", String::new()) {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if refusal.code == 404 => Ok(None),
            Err(refusal) => Err(Failed(format!("reading {path}: {refusal}"))),
        }
    }

    /// One object that has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn get(&self, path: &str) -> Result<Value, Failed> {
        self.find(path)?.ok_or_else(|| Failed(format!("there is no {path}")))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Failed> {
        let list = self.get(path)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn create(&self, collection: &str, object: &Value) -> Result<Value, Refusal> {
        self.request(Method::POST, collection, "application/json", object.to_string())
    }

    /// A JSON merge patch, as a manager of fields.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn merge(&self, path: &str, manager: &str, change: &Value) -> Result<Value, Refusal> {
        let path = format!("{path}?fieldManager={manager}");
        self.request(Method::PATCH, &path, "application/merge-patch+json", change.to_string())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn delete(&self, path: &str) -> Result<Value, Refusal> {
        self.request(Method::DELETE, path, "application/json", String::new())
    }

    /// What an object would be if this were applied by force; nothing is changed.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn dry_run(&self, object: &Value) -> Result<Value, Failed> {
        self.apply_with(object, "fieldManager=compare&force=true&dryRun=All")
    }

    /// Server-side apply, by force.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn apply(&self, object: &Value) -> Result<Value, Failed> {
        self.apply_with(object, "fieldManager=story&force=true&fieldValidation=Strict")
    }

    fn apply_with(&self, object: &Value, parameters: &str) -> Result<Value, Failed> {
        let path = self.path_of(object)?;
        let what = format!("{path}?{parameters}");
        self.request(Method::PATCH, &what, "application/apply-patch+yaml", object.to_string())
            .map_err(|refusal| Failed(format!("applying {path}: {refusal}")))
    }

    /// The path of an object that says its kind and name.
    ///
    /// # Errors
    /// When the API server does not know the kind.
    pub fn path_of(&self, object: &Value) -> Result<String, Failed> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Ok(format!("{}/{name}", self.collection_of(object)?))
    }

    /// The path of the collection that an object is in.
    ///
    /// # Errors
    /// When the API server does not know the kind.
    pub fn collection_of(&self, object: &Value) -> Result<String, Failed> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (plural, namespaced) = self.kind(&api_version, &kind)?;
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        Ok(if namespaced {
            format!("{root}/{api_version}/namespaces/{namespace}/{plural}")
        } else {
            format!("{root}/{api_version}/{plural}")
        })
    }

    /// The plural of a kind, and whether it is namespaced.
    fn kind(&self, api_version: &str, kind: &str) -> Result<(String, bool), Failed> {
        let key = (api_version.to_owned(), kind.to_owned());
        let lock = || self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let (resource, capabilities) = self
            .runtime
            .block_on(pinned_kind(&self.client, &GroupVersionKind::gvk(group, version, kind)))
            .map_err(|error| Failed(format!("looking for the kind {kind}: {error}")))?;
        let known = (resource.plural, capabilities.scope == Scope::Namespaced);
        lock().insert(key, known.clone());
        Ok(known)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Value, Refusal> {
        let silent = |message: String| Refusal { code: 0, message };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(body.into_bytes())
            .map_err(|error| silent(error.to_string()))?;
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => {
                Err(Refusal { code: status.code, message: status.message.clone() })
            }
            Err(error) => Err(silent(error.to_string())),
        }
    }
}

/// The name of an object.
#[must_use]
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The condition of that type: its status, reason and message, or that it is not there.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    object["status"]["conditions"]
        .as_array()
        .and_then(|conditions| conditions.iter().find(|c| c["type"] == kind))
        .map_or(("Absent", ""), |c| {
            (c["status"].as_str().unwrap_or_default(), c["message"].as_str().unwrap_or_default())
        })
}
