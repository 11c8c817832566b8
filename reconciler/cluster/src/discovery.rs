//! Which kinds the cluster serves: two calls (aggregated discovery), kept until a kind is unknown.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use kube::Client;
use kube::core::ApiResource;
use tidegate_ids::{GroupKind, ObjectId};

use crate::Error;

/// A kind as the cluster serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Group, preferred version, kind and plural.
    pub api: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// The path of its collection. `api_version` where another one than the preferred is wanted.
    pub(crate) fn path(&self, namespace: Option<&str>, api_version: Option<&str>) -> String {
        let api_version = api_version.unwrap_or(&self.api.api_version);
        let root = if self.api.group.is_empty() { "api" } else { "apis" };
        let namespace = match namespace {
            Some(namespace) if self.namespaced => format!("namespaces/{namespace}/"),
            _ => String::new(),
        };
        format!("/{root}/{api_version}/{namespace}{}", self.api.plural)
    }
}

type Kinds = HashMap<GroupKind, Resource>;

pub(crate) struct Discovery {
    client: Client,
    kinds: RwLock<Arc<Kinds>>,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Discovery {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kinds: RwLock::default(), asked: tokio::sync::Mutex::default() }
    }

    fn known(&self, kind: &GroupKind) -> Option<Resource> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(kind).cloned()
    }

    /// The resource of a kind; asks the cluster anew when it is unknown.
    pub(crate) async fn resolve(&self, kind: &GroupKind) -> Result<Resource, Error> {
        if let Some(found) = self.known(kind) {
            return Ok(found);
        }
        self.refresh(Instant::now()).await?;
        self.known(kind).ok_or_else(|| Error::UnknownKind { kind: kind.clone() })
    }

    /// Asks the cluster, unless somebody did after `wanted`: callers share one answer.
    pub(crate) async fn refresh(&self, wanted: Instant) -> Result<(), Error> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at > wanted) {
            return Ok(());
        }
        let start = Instant::now();
        let failed = |error: kube::Error| Error::of("list", "the kinds that it serves", "", &error);
        let mut groups = self.client.list_api_groups_aggregated().await.map_err(failed)?.items;
        groups.extend(self.client.list_core_api_versions_aggregated().await.map_err(failed)?.items);
        let mut kinds = Kinds::new();
        for group in groups {
            let name = group.metadata.and_then(|m| m.name).unwrap_or_default();
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                for resource in version.resources {
                    let Some(kind) = resource.response_kind.and_then(|k| k.kind) else { continue };
                    let found = Resource {
                        api: ApiResource {
                            group: name.clone(),
                            version: version_name.clone(),
                            api_version: if name.is_empty() {
                                version_name.clone()
                            } else {
                                format!("{name}/{version_name}")
                            },
                            kind: kind.clone(),
                            plural: resource.resource.unwrap_or_default(),
                        },
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    };
                    // Versions come in the order of preference: the first one counts.
                    kinds.entry(GroupKind::new(name.clone(), kind)).or_insert(found);
                }
            }
        }
        *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kinds);
        *asked = Some(start);
        Ok(())
    }
}

impl crate::Cluster {
    /// How the cluster serves a kind; asks anew when it is unknown.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], or when the cluster cannot be asked.
    pub async fn resource(&self, kind: &GroupKind) -> Result<Resource, Error> {
        self.discovery().resolve(kind).await
    }

    /// Forgets what is known about kinds: after a `CustomResourceDefinition` was applied or deleted.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub async fn discover_again(&self) -> Result<(), Error> {
        self.discovery().refresh(Instant::now()).await
    }
}

/// The path of one object.
pub(crate) fn collection(resource: &Resource, id: &ObjectId, version: Option<&str>) -> String {
    resource.path(id.namespace.as_deref(), version)
}
