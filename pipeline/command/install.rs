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
    /// A Secret in the engine's namespace with credentials of registries, of type
    /// kubernetes.io/dockerconfigjson. The engine reads registries with them.
    #[arg(long, value_name = "SECRET")]
    pub registry_secret: Option<String>,
    /// A ConfigMap in the engine's namespace whose ca.crt holds certificate authorities that the
    /// engine trusts beside the machine's own.
    #[arg(long, value_name = "CONFIGMAP")]
    pub authorities: Option<String>,
    /// Further arguments of the engine, such as --registry-alias; see tidegate controller --help.
    #[arg(last = true, value_name = "ENGINE ARGUMENTS")]
    pub engine: Vec<String>,
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
    let own = [
        Right::new(
            "",
            "secrets",
            "get list watch create",
            "signing keys of environments, which it makes and whose change it follows, and keys of trust policies",
        ),
        Right::new("", "configmaps", "get", "trusted roots that trust policies name"),
    ];
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
            system,
            "tidegate-key-keeper",
            "Rotates and retires keys (tidegate keys); bound to nobody. Whoever has it can read them.",
            &[Right::new("", "secrets", "get update", "the keys that environments sign with")],
        ),
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
                "spec": pod(system, args),
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

/// A file that the engine reads.
struct Given {
    name: &'static str,
    file: &'static str,
    flag: &'static str,
    volume: Value,
}

fn given(args: &Args) -> Vec<Given> {
    let registries = args.registry_secret.as_ref().map(|secret| Given {
        name: "registries",
        file: ".dockerconfigjson",
        flag: "--registry-config",
        volume: json!({"name": "registries", "secret": {"secretName": secret}}),
    });
    let authorities = args.authorities.as_ref().map(|map| Given {
        name: "authorities",
        file: "ca.crt",
        flag: "--ca-file",
        volume: json!({"name": "authorities", "configMap": {"name": map}}),
    });
    registries.into_iter().chain(authorities).collect()
}

fn pod(system: &str, args: &Args) -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5});
    let arguments = [
        "controller",
        "--listen",
        "0.0.0.0:8080",
        "--work-dir",
        "/var/lib/tidegate",
        "--system-namespace",
        system,
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
    let mut mounts = vec![
        json!({"name": "work", "mountPath": "/var/lib/tidegate"}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
    ];
    let mut volumes = vec![
        json!({"name": "work", "emptyDir": {"sizeLimit": "4Gi"}}),
        json!({"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}),
    ];
    for Given { name, file, flag, volume } in given(args) {
        let folder = format!("/etc/tidegate/{name}");
        arguments.extend([flag.to_owned(), format!("{folder}/{file}")]);
        mounts.push(json!({"name": name, "mountPath": folder, "readOnly": true}));
        volumes.push(volume);
    }
    arguments.extend(args.engine.iter().cloned());
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
            "image": args.image,
            "args": arguments,
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "livenessProbe": probe("/healthz"),
            "readinessProbe": probe("/readyz"),
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_schemas::SYSTEM_NAMESPACE;

    fn printed() -> Vec<Document> {
        documents(SYSTEM_NAMESPACE, &args()).unwrap()
    }

    fn args() -> Args {
        Args {
            image: "tidegate:test".to_owned(),
            credential_extra: CREDENTIAL_ID.to_owned(),
            registry_secret: None,
            authorities: None,
            engine: Vec::new(),
        }
    }

    #[test]
    fn the_engine_finds_the_credentials_and_authorities_it_is_given() {
        let args = Args {
            registry_secret: Some("registries".to_owned()),
            authorities: Some("hospital-ca".to_owned()),
            engine: vec!["--registry-alias".to_owned(), "ghcr.io=harbor.example.com".to_owned()],
            ..args()
        };
        let pod = pod(SYSTEM_NAMESPACE, &args);
        let container = &pod["containers"][0];
        let arguments: Vec<_> =
            container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        assert_eq!(
            arguments[7..],
            [
                "--registry-config",
                "/etc/tidegate/registries/.dockerconfigjson",
                "--ca-file",
                "/etc/tidegate/authorities/ca.crt",
                "--registry-alias",
                "ghcr.io=harbor.example.com",
            ]
        );
        for (mount, volume) in container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .zip(pod["volumes"].as_array().unwrap())
        {
            assert_eq!(mount["name"], volume["name"]);
        }
        assert_eq!(pod["volumes"][2]["secret"]["secretName"], "registries");
        assert_eq!(pod["volumes"][3]["configMap"]["name"], "hospital-ca");
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
