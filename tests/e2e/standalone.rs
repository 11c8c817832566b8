//! A Sync by itself, without any Pipeline: a path of a branch is what runs, is pruned and comes
//! back, under an account of its own.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_harness::story::{Cluster, condition, until};

use crate::ward::{SETTINGS, hospital};

const PATIENCE: Duration = Duration::from_mins(2);
const SETTINGS_PATH: &str = "/api/v1/namespaces/tools-run/configmaps/settings";
const MORE_PATH: &str = "/api/v1/namespaces/tools-run/configmaps/more";
const SYNC: &str = "/apis/tidegate.dev/v1alpha1/namespaces/tools/syncs/tools";

#[test]
fn a_sync_alone_keeps_a_target_equal_to_a_path() {
    let hospital = hospital();
    let cluster = Cluster::open(&hospital.lab.kubeconfig()).unwrap();
    let url = hospital.lab.create_repo("tools", None).unwrap();
    let commit = |files: &[(&str, Option<&str>)]| {
        hospital.lab.commit("tools", "main", files, "Change the tools").unwrap()
    };
    let more = SETTINGS.replace("name: settings", "name: more");
    commit(&[("tools/settings.yaml", Some(SETTINGS)), ("tools/more.yaml", Some(&more))]);
    for object in objects(&url) {
        cluster.apply(&object).unwrap();
    }

    until("both objects run", PATIENCE, || {
        let there = cluster.find(SETTINGS_PATH)?.is_some() && cluster.find(MORE_PATH)?.is_some();
        Ok(if there { Ok(()) } else { Err(status(&cluster)) })
    })
    .unwrap();
    until("the Sync is ready", PATIENCE, || {
        let sync = cluster.get(SYNC)?;
        let (ready, message) = condition(&sync, "Ready");
        Ok(if ready == "True" { Ok(()) } else { Err(message.to_owned()) })
    })
    .unwrap();

    let day = SETTINGS.replace("night", "day");
    commit(&[("tools/settings.yaml", Some(&day)), ("tools/more.yaml", None)]);
    until("the change is applied, and what went is pruned", PATIENCE, || {
        let changed = cluster.get(SETTINGS_PATH)?["data"]["shift"] == "day";
        let pruned = cluster.find(MORE_PATH)?.is_none();
        Ok(if changed && pruned { Ok(()) } else { Err(status(&cluster)) })
    })
    .unwrap();

    cluster.delete(SETTINGS_PATH).unwrap();
    until("what was deleted by hand is there again", PATIENCE, || {
        Ok(cluster.find(SETTINGS_PATH)?.map(drop).ok_or_else(|| status(&cluster)))
    })
    .unwrap();
}

fn status(cluster: &Cluster) -> String {
    cluster.get(SYNC).map_or_else(|error| error.to_string(), |sync| sync["status"].to_string())
}

fn objects(url: &str) -> Vec<Value> {
    let tidegate = "tidegate.dev/v1alpha1";
    let rbac = "rbac.authorization.k8s.io/v1";
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tools"}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tools-run"}}),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "tools-deployer", "namespace": "tidegate-deployers"},
        }),
        json!({
            "apiVersion": rbac, "kind": "Role",
            "metadata": {"name": "deployer", "namespace": "tools-run"},
            "rules": [{
                "apiGroups": [""], "resources": ["configmaps"],
                "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"],
            }],
        }),
        json!({
            "apiVersion": rbac, "kind": "RoleBinding",
            "metadata": {"name": "deployer", "namespace": "tools-run"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{
                "kind": "ServiceAccount", "namespace": "tidegate-deployers", "name": "tools-deployer",
            }],
        }),
        json!({
            "apiVersion": tidegate, "kind": "Repository",
            "metadata": {"name": "tools", "namespace": "tools"},
            "spec": {"url": url, "interval": "1s"},
        }),
        json!({
            "apiVersion": tidegate, "kind": "Sync",
            "metadata": {"name": "tools", "namespace": "tools"},
            "spec": {
                "source": {"repository": "tools", "branch": "main", "path": "tools"},
                "target": {"namespace": "tools-run"}, "account": "tools-deployer",
            },
        }),
    ]
}
