//! Which objects belong together: an `ApplySet` (KEP-3659), whose parent is a ConfigMap in the target.
//!
//! The parent is written before anything new is applied, so that a crash leaves nothing that is not
//! recorded. It names the hub and the Sync, so that two hubs, or a restored one, cannot take each
//! other's objects.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tidegate_ids::{Digest, ObjectId};
use tidegate_manifest::Manifest;

use crate::Error;

/// The label of every member.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

/// The id of the set whose parent is this ConfigMap.
#[must_use]
pub fn applyset_id(namespace: &str, parent: &str) -> String {
    let hash = Digest::of(format!("{parent}.{namespace}.ConfigMap.").as_bytes());
    format!("applyset-{}-v1", BASE64_URL_SAFE_NO_PAD.encode(hash.bytes()))
}

/// The manifest with the label of the set, whatever it said before.
///
/// # Errors
/// When it is no object any more, which cannot happen to one that was parsed.
pub fn as_member(manifest: Manifest, applyset: &str) -> Result<Manifest, Error> {
    let origin = manifest.origin().to_owned();
    let mut value = manifest.into_value();
    let labels = value
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
        .map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
    if let Some(Value::Object(labels)) = labels {
        labels.insert(PART_OF.to_owned(), applyset.into());
    }
    Ok(Manifest::from_value(value, &origin)?)
}

/// The record of what a Sync deployed into a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The target.
    pub namespace: String,
    /// The ConfigMap's name.
    pub name: String,
    /// The uid of the hub's `kube-system` namespace.
    pub hub: String,
    /// The Sync, as `namespace/name`.
    pub sync: String,
    /// Every object that is or may be there.
    pub inventory: BTreeSet<ObjectId>,
}

impl Parent {
    /// Of a Sync that deployed nothing yet.
    #[must_use]
    pub fn new(namespace: &str, sync_namespace: &str, sync: &str, hub: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: format!("tidegate-{sync}"),
            hub: hub.to_owned(),
            sync: format!("{sync_namespace}/{sync}"),
            inventory: BTreeSet::new(),
        }
    }

    /// The ConfigMap.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        ObjectId {
            group_kind: tidegate_ids::GroupKind::new("", "ConfigMap"),
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }

    /// The id of the set.
    #[must_use]
    pub fn applyset(&self) -> String {
        applyset_id(&self.namespace, &self.name)
    }

    /// The ConfigMap to apply.
    ///
    /// # Errors
    /// When its name cannot be an object's name.
    pub fn to_manifest(&self) -> Result<Manifest, Error> {
        let kinds: BTreeSet<String> =
            self.inventory.iter().map(|id| id.group_kind.to_string()).collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(",");
        let value = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {ID: self.applyset()},
                "annotations": {TOOLING: "tidegate/v1", KINDS: kinds},
            },
            "data": {
                "hub": self.hub,
                "sync": self.sync,
                "inventory": json!(self.inventory).to_string(),
            },
        });
        Ok(Manifest::from_value(value, "the record of what is deployed")?)
    }

    /// Takes the inventory from the ConfigMap as it is in the target.
    ///
    /// # Errors
    /// When it is another hub's or Sync's, or cannot be read.
    pub fn read_inventory(&mut self, live: &Value) -> Result<(), Error> {
        let data = |key: &str| live.pointer(&format!("/data/{key}")).and_then(Value::as_str);
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        let (Some(hub), Some(sync), Some(inventory)) =
            (data("hub"), data("sync"), data("inventory"))
        else {
            let why = "it lacks hub, sync or inventory".to_owned();
            return Err(Error::Unreadable { namespace, name, why });
        };
        if hub != self.hub || sync != self.sync {
            let hub = if hub == self.hub { "this cluster" } else { "another hub" };
            return Err(Error::Foreign { namespace, name, owner: format!("Sync {sync} of {hub}") });
        }
        self.inventory = serde_json::from_str(inventory).map_err(|error| Error::Unreadable {
            namespace,
            name,
            why: error.to_string(),
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> Parent {
        let mut parent = Parent::new("clinic-dev", "clinic", "clinic-dev-app", "hub-1");
        parent.inventory.insert(ObjectId {
            group_kind: tidegate_ids::GroupKind::new("apps", "Deployment"),
            namespace: Some("clinic-dev".into()),
            name: "web".into(),
        });
        parent
    }

    /// `printf 'tidegate-a.b.ConfigMap.' | sha256sum | xxd -r -p | base64url`
    #[test]
    fn the_id_is_that_of_the_kep_and_a_label_value() {
        let id = applyset_id("b", "tidegate-a");
        assert!(id.len() <= 63 && id.starts_with("applyset-") && id.ends_with("-v1"), "{id}");
        assert_ne!(id, applyset_id("a", "tidegate-b"));
    }

    #[test]
    fn the_record_reads_back() {
        let written = parent().to_manifest().unwrap();
        let mut read = Parent { inventory: BTreeSet::new(), ..parent() };
        read.read_inventory(written.value()).unwrap();
        assert_eq!(read, parent());
    }

    #[test]
    fn the_record_of_another_hub_or_sync_is_not_taken() {
        let written = parent().to_manifest().unwrap();
        let other_hub = Parent { hub: "hub-2".into(), ..parent() }.read_inventory(written.value());
        assert!(matches!(other_hub, Err(Error::Foreign { .. })), "{other_hub:?}");
        let other = Parent { sync: "other/clinic-dev-app".into(), ..parent() };
        assert!(other.clone().read_inventory(written.value()).is_err());
    }

    #[test]
    fn a_member_carries_the_label_whatever_it_said_before() {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "labels": {PART_OF: "somebody"}}});
        let member = as_member(Manifest::from_value(value, "a.yaml").unwrap(), "set").unwrap();
        assert_eq!(member.label(PART_OF), Some("set"));
        assert_eq!(member.origin(), "a.yaml");
    }
}
