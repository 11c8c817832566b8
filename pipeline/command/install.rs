//! `tidegate install`: everything a cluster needs, printed.
//!
//! It prints and does not apply, so that a hoster reviews, commits and applies it like
//! everything else. The engine's rights are as small as its work: it reads Tidegate's kinds,
//! writes only those it makes, reads no Secret outside of its own namespace (`bootstrap`
//! grants each one by name), and changes targets only as a deployer account.

use serde_json::{Value, json};
use tidegate_schemas::admission::{Admission, CREDENTIAL_ID};
use tidegate_schemas::{DEPLOYERS_NAMESPACE, GROUP};

use crate::document::{
    Document, Right, cluster_role, cluster_role_binding, labelled, namespace, role, role_binding,
    service_account,
};
use crate::{lanes, people};

/// The engine's service account.
pub const ENGINE: &str = "tidegate";

/// Prints everything a cluster needs: kinds, admission policies, roles and the engine.
///
/// The engine runs in the namespace that -n names, tidegate-system where nothing is said.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The image that the engine runs, best with its digest.
    #[arg(long, default_value = concat!("tidegate:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// The key of userInfo.extra that proves a person's own credential to the API server.
    #[arg(long, value_name = "KEY", default_value = CREDENTIAL_ID)]
    pub credential_extra: String,
}

/// Everything, in an order in which it can be applied.
///
/// # Errors
/// Never for the kinds of this build; the signature follows the serializer's.
pub fn documents(system: &str, args: &Args) -> Result<Vec<Document>, serde_json::Error> {
    let mut all = vec![
        namespace(system, "Where the engine and the signing keys are.", json!({})),
        namespace(
            DEPLOYERS_NAMESPACE,
            "The locked namespace of the deployer accounts: nothing runs here, nobody is given rights here.",
            json!({}),
        ),
    ];
    for crd in tidegate_schemas::crds() {
        all.push(Document { comment: Vec::new(), value: serde_json::to_value(crd)? });
    }
    for policy in Admission::new(system, ENGINE, &args.credential_extra).policies() {
        all.push(Document { comment: Vec::new(), value: policy });
    }
    all.extend(lanes::watch_roles());
    all.extend(lanes::lane_roles());
    all.extend(people::roles());
    all.extend(engine_rights(system));
    all.extend(engine(system, args));
    Ok(all)
}

fn engine_rights(system: &str) -> Vec<Document> {
    let account = (system, ENGINE);
    let statuses =
        "pipelines/status promotions/status releases/status repositories/status syncs/status";
    let everywhere = [
        Right::new(
            GROUP,
            "approvals environmentclasses environments pipelines promotions releases repositories rosters syncs trustpolicies",
            "get list watch",
            "what people and the engine itself decided",
        ),
        Right::new(GROUP, statuses, "patch update", "what it saw, did and decided"),
        Right::new(
            GROUP,
            "promotions releases",
            "create",
            "only the engine makes releases, and promotions on its own account",
        ),
        Right::new(
            GROUP,
            "syncs",
            "create patch",
            "one for each environment and lane of a pipeline",
        ),
        Right::new("", "namespaces", "get", "its uid is the cluster's identity")
            .named(["kube-system"]),
        Right::new(
            "events.k8s.io",
            "events",
            "create patch",
            "tells what happened beside the object it happened to",
        ),
    ];
    let own = [Right::new(
        "",
        "secrets",
        "get create",
        "signing keys of environments, which it makes, and keys of trust policies",
    )];
    let deployers = [Right::new(
        "",
        "serviceaccounts",
        "impersonate",
        "applies as the account of the lane, never as itself",
    )];
    let role_ref = ("Role", ENGINE);
    vec![
        service_account(system, ENGINE, "The engine."),
        cluster_role("tidegate-engine", "The engine, everywhere.", json!({}), &everywhere),
        cluster_role_binding("tidegate-engine", "tidegate-engine", account),
        cluster_role_binding("tidegate-watch", "tidegate-watch", account),
        role(system, ENGINE, "The engine, in its own namespace.", &own),
        role_binding(system, ENGINE, role_ref, account),
        role(
            DEPLOYERS_NAMESPACE,
            ENGINE,
            "The engine becomes deployer accounts, and nobody else.",
            &deployers,
        ),
        role_binding(DEPLOYERS_NAMESPACE, ENGINE, role_ref, account),
    ]
}

fn engine(system: &str, args: &Args) -> Vec<Document> {
    let labels = json!({"app.kubernetes.io/name": ENGINE, "app.kubernetes.io/component": "engine"});
    let metadata = json!({"name": ENGINE, "namespace": system, "labels": labelled(labels.clone())});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labelled(labels.clone())},
                "spec": pod(system, &args.image),
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "selector": labels,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    });
    vec![
        Document::new("The engine. One at a time: what it keeps on disk are caches.", deployment),
        Document::new(
            "Webhooks reach the engine here; put your ingress and its TLS before it.",
            service,
        ),
    ]
}

fn pod(system: &str, image: &str) -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5});
    json!({
        "serviceAccountName": ENGINE,
        "automountServiceAccountToken": true,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": "engine",
            "image": image,
            "args": ["controller", "--listen", "0.0.0.0:8080", "--work-dir", "/var/lib/tidegate", "--system-namespace", system],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "livenessProbe": probe("/healthz"),
            "readinessProbe": probe("/readyz"),
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "work", "mountPath": "/var/lib/tidegate"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_schemas::SYSTEM_NAMESPACE;

    fn printed() -> Vec<Document> {
        let args =
            Args { image: "tidegate:test".to_owned(), credential_extra: CREDENTIAL_ID.to_owned() };
        documents(SYSTEM_NAMESPACE, &args).unwrap()
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_objects() {
        let text = crate::document::stream(&printed());
        let read = tidegate_manifest::manifests(text.as_bytes(), "install").unwrap();
        let values: Vec<Value> = printed().into_iter().map(|d| d.value).collect();
        assert_eq!(read.len(), values.len());
        tidegate_manifest::Set::from_manifests(read).expect("no object is printed twice");
    }

    #[test]
    fn the_engines_own_rights_are_these_and_no_others() {
        let text = crate::document::stream(&engine_rights(SYSTEM_NAMESPACE));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn people_get_these_roles() {
        insta::assert_snapshot!(crate::document::stream(&people::roles()));
    }
}
