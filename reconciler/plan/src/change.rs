//! What one pass does.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_ids::{Digest, ObjectId};
use tidegate_manifest::{Set, stage};

use crate::Error;

/// What makes the target equal to what Git states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// What to apply, stage by stage.
    pub apply: Vec<Vec<ObjectId>>,
    /// What to delete after everything was applied, stage by stage, the last stage first.
    pub prune: Vec<Vec<ObjectId>>,
    /// What Git no longer states and `spec.prune.allow` does not allow to delete.
    pub blocked: Vec<ObjectId>,
    /// How many objects are as they should be already.
    pub unchanged: usize,
}

impl ChangeSet {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.prune.is_empty()
    }
}

/// Kinds whose deletion takes data with it, or everything inside.
const PRECIOUS: [&str; 4] = [
    "Namespace",
    "CustomResourceDefinition.apiextensions.k8s.io",
    "PersistentVolumeClaim",
    "Cluster.postgresql.cnpg.io",
];

/// Refuses objects of kinds that are not allowed; an empty list allows all.
///
/// # Errors
/// [`Error::Kinds`].
pub fn check_kinds(desired: &Set, allowed: &[String]) -> Result<(), Error> {
    if allowed.is_empty() {
        return Ok(());
    }
    let objects: Vec<ObjectId> = desired
        .iter()
        .map(tidegate_manifest::Manifest::id)
        .filter(|id| !allowed.contains(&id.group_kind.to_string()))
        .cloned()
        .collect();
    if objects.is_empty() {
        return Ok(());
    }
    Err(Error::Kinds { objects, allowed: allowed.to_vec() })
}

/// Plans a pass. `applied` are the digests of what was applied and is known to be so still;
/// `inventory` is what the target may hold of ours.
///
/// # Errors
/// [`Error::Empty`].
pub fn plan(
    desired: &Set,
    applied: &BTreeMap<ObjectId, Digest>,
    inventory: &BTreeSet<ObjectId>,
    prune_allow: &[String],
) -> Result<ChangeSet, Error> {
    if desired.is_empty() && !inventory.is_empty() {
        return Err(Error::Empty { tracked: inventory.len() });
    }
    let mut stages: BTreeMap<u8, Vec<ObjectId>> = BTreeMap::new();
    let mut unchanged = 0;
    for manifest in desired {
        if applied.get(manifest.id()) == Some(&manifest.digest()) {
            unchanged += 1;
        } else {
            stages.entry(stage(&manifest.id().group_kind)).or_default().push(manifest.id().clone());
        }
    }
    let mut prune: BTreeMap<u8, Vec<ObjectId>> = BTreeMap::new();
    let mut blocked = Vec::new();
    for id in inventory.iter().filter(|id| desired.get(id).is_none()) {
        let kind = id.group_kind.to_string();
        if PRECIOUS.contains(&kind.as_str()) && !prune_allow.contains(&kind) {
            blocked.push(id.clone());
        } else {
            prune.entry(stage(&id.group_kind)).or_default().push(id.clone());
        }
    }
    Ok(ChangeSet {
        apply: stages.into_values().collect(),
        prune: prune.into_values().rev().collect(),
        blocked,
        unchanged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidegate_manifest::Manifest;

    fn object(api_version: &str, kind: &str, name: &str) -> Manifest {
        let value = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "clinic"}});
        Manifest::from_value(value, "test.yaml").unwrap()
    }

    fn set(objects: &[Manifest]) -> Set {
        Set::from_manifests(objects.iter().cloned()).unwrap()
    }

    fn names(stages: &[Vec<ObjectId>]) -> Vec<Vec<&str>> {
        stages.iter().map(|s| s.iter().map(|id| id.name.as_str()).collect()).collect()
    }

    #[test]
    fn accounts_come_before_configuration_and_workloads_last_and_pruning_goes_back() {
        let objects = [
            object("apps/v1", "Deployment", "web"),
            object("v1", "ConfigMap", "settings"),
            object("v1", "ServiceAccount", "runner"),
        ];
        let desired = set(&objects);
        let planned = plan(&desired, &BTreeMap::new(), &BTreeSet::new(), &[]).unwrap();
        assert_eq!(names(&planned.apply), [["runner"], ["settings"], ["web"]]);
        let inventory = objects.iter().map(|m| m.id().clone()).collect();
        let other = set(&[object("v1", "ConfigMap", "other")]);
        let planned = plan(&other, &BTreeMap::new(), &inventory, &[]).unwrap();
        assert_eq!(names(&planned.prune), [["web"], ["settings"], ["runner"]]);
    }

    #[test]
    fn what_is_applied_and_unchanged_costs_nothing() {
        let desired = set(&[object("v1", "ConfigMap", "a")]);
        let applied = desired.iter().map(|m| (m.id().clone(), m.digest())).collect();
        let inventory = desired.iter().map(|m| m.id().clone()).collect();
        let planned = plan(&desired, &applied, &inventory, &[]).unwrap();
        assert!(planned.is_empty());
        assert_eq!(planned.unchanged, 1);
    }

    #[test]
    fn an_empty_folder_deletes_nothing() {
        let inventory = [object("v1", "ConfigMap", "a").id().clone()].into();
        let planned = plan(&Set::default(), &BTreeMap::new(), &inventory, &[]);
        assert_eq!(planned, Err(Error::Empty { tracked: 1 }));
        assert!(plan(&Set::default(), &BTreeMap::new(), &BTreeSet::new(), &[]).is_ok());
    }

    #[test]
    fn data_is_deleted_only_where_the_sync_allows_it() {
        let claim = object("v1", "PersistentVolumeClaim", "files");
        let inventory = [claim.id().clone()].into();
        let desired = set(&[object("v1", "ConfigMap", "a")]);
        let planned = plan(&desired, &BTreeMap::new(), &inventory, &[]).unwrap();
        assert_eq!((planned.blocked.len(), planned.prune.len()), (1, 0));
        let allow = ["PersistentVolumeClaim".to_owned()];
        let planned = plan(&desired, &BTreeMap::new(), &inventory, &allow).unwrap();
        assert_eq!((planned.blocked.len(), planned.prune.len()), (0, 1));
    }

    #[test]
    fn a_kind_that_is_not_allowed_is_named() {
        let desired =
            set(&[object("apps/v1", "Deployment", "web"), object("v1", "ConfigMap", "a")]);
        let error = check_kinds(&desired, &["ConfigMap".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("Deployment.apps clinic/web is of a kind"), "{error}");
        assert!(check_kinds(&desired, &[]).is_ok());
    }
}
