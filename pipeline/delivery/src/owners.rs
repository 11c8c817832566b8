//! Who made a pod: the chain of its controllers, from the outermost down.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::{Client, ResourceExt as _};

/// How many controllers may stand above each other.
const DEEP: usize = 4;
/// How many are remembered.
const KEPT: usize = 1000;

/// Looks up controllers, and remembers who controls them: that never changes.
pub struct Owners {
    client: Client,
    above: HashMap<String, Option<OwnerReference>>,
}

impl Owners {
    /// As the engine's own account.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), above: HashMap::new() }
    }

    /// `Deployment web, ReplicaSet web-5d`; of a pod that nobody controls, `Pod web`. What cannot
    /// be read ends the chain.
    pub async fn of(&mut self, pod: &Pod) -> String {
        let namespace = pod.namespace().unwrap_or_default();
        let mut chain = Vec::new();
        let mut next = controller(pod.owner_references());
        while let Some(owner) = next {
            if chain.len() >= DEEP {
                break;
            }
            next = self.above(&namespace, &owner).await;
            chain.push(format!("{} {}", owner.kind, owner.name));
        }
        if chain.is_empty() {
            return format!("Pod {}", pod.name_any());
        }
        chain.reverse();
        chain.join(", ")
    }

    async fn above(&mut self, namespace: &str, owner: &OwnerReference) -> Option<OwnerReference> {
        if let Some(known) = self.above.get(&owner.uid) {
            return known.clone();
        }
        let (group, version) =
            owner.api_version.split_once('/').unwrap_or(("", owner.api_version.as_str()));
        // Only these have controllers of their own among Kubernetes' kinds; others name themselves.
        if !matches!((group, owner.kind.as_str()), ("apps", "ReplicaSet") | ("batch", "Job")) {
            return None;
        }
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind));
        let api: Api<PartialObjectMeta<kube::core::DynamicObject>> =
            Api::namespaced_with(self.client.clone(), namespace, &kind);
        let found = api.get_metadata_opt(&owner.name).await.ok()?;
        let above = found.and_then(|o| controller(o.owner_references()));
        if self.above.len() >= KEPT {
            self.above.clear();
        }
        self.above.insert(owner.uid.clone(), above.clone());
        above
    }
}

fn controller(owners: &[OwnerReference]) -> Option<OwnerReference> {
    owners.iter().find(|o| o.controller == Some(true)).cloned()
}
