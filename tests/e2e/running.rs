//! What runs, with a real service: only verified images start, a list that somebody changed comes
//! back, what runs unverified is told with what runs it, and a revocation is known at once.

use std::time::Duration;

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tidegate_harness::story::{Cluster, condition, until};
use tidegate_ids::Digest;

use crate::ward::{Ward, hospital};

const NAME: &str = "running";
const TARGET: &str = "/api/v1/namespaces/running-dev";
const LIST: &str = "/api/v1/namespaces/running-dev/configmaps/tidegate-verified-images";
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn what_runs_is_verified_and_what_is_not_is_told() {
    let lab = &hospital().lab;
    let digest = lab.push_image("running/web", "1", "the ward's web", &[]).unwrap();
    let image = format!("{}/running/web@{digest}", lab.registry());
    let key = lab.cosign_key("running").unwrap();
    lab.sign(&image, &key).unwrap();
    trust(&key.public_pem, &json!([]));
    let ward = Ward::with_app(NAME, &[("dev/app/web.yaml", &deployment(&image))]);

    let pod = runs(&ward, &image);
    let names = listed(&ward);
    let hex = digest.trim_start_matches("sha256:");
    let repository = format!("{}/running/web", lab.registry());
    assert_eq!(names, json!({hex: repository}), "what is held, and nothing else");
    verified(&ward, "True", "");

    by_hand_is_refused(&ward, &image);
    the_list_comes_back(&ward, hex);
    what_no_release_names_is_told(&ward);
    another_image_than_stated_is_told(&ward, &pod, &image);
    a_revocation_is_known_at_once(&ward, &key.public_pem, &image, hex);
    so_is_that_of_the_key_that_signed(&ward, &key.public_pem, &image, hex);
}

fn trust(pem: &str, revoked: &Value) {
    let cluster = Cluster::open(&hospital().lab.kubeconfig()).unwrap();
    let policy = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "TrustPolicy", "metadata": {"name": NAME},
        "spec": {
            "images": [format!("{}/running/*", hospital().lab.registry())],
            "require": [{"anyOf": [{"key": {"pem": pem, "log": "none"}}]}],
            "revoked": revoked,
        },
    });
    cluster.apply(&policy).unwrap();
}

fn container(image: &str) -> Value {
    json!({"name": "web", "image": image, "securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }})
}

fn deployment(image: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container(image)]},
            },
        },
    })
    .to_string()
}

fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand", "namespace": "running-dev"},
        "spec": {"containers": [container(image)]},
    })
}

/// The name of the pod that the Deployment made.
fn runs(ward: &Ward, image: &str) -> String {
    until("the Deployment's pod runs", PATIENCE, || {
        let pods = ward.cluster.list(&format!("{TARGET}/pods?labelSelector=app%3Dweb"))?;
        let running = pods.iter().find(|pod| {
            pod["spec"]["containers"][0]["image"] == image && pod["status"]["phase"] == "Running"
        });
        let conditions = ward.object("pipelines", NAME)["status"]["conditions"].to_string();
        Ok(running.map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).ok_or(conditions))
    })
    .unwrap()
}

fn listed(ward: &Ward) -> Value {
    ward.cluster.get(LIST).unwrap()["data"].clone()
}

/// Waits until the Pipeline's condition `Verified` has this status, and says this.
fn verified(ward: &Ward, status: &str, words: &str) {
    until(&format!("Verified is {status}: {words}"), PATIENCE, || {
        let pipeline = ward.object("pipelines", NAME);
        let (now, message) = condition(&pipeline, "Verified");
        let told = now == status && message.contains(words);
        Ok(if told { Ok(()) } else { Err(pipeline["status"].to_string()) })
    })
    .unwrap();
}

/// Waits until something is told to be unverified for this reason.
fn unverified(ward: &Ward, reason: &str, image: &str) -> Value {
    let found = until(&format!("{image} is told to be {reason}"), PATIENCE, || {
        let status = ward.object("pipelines", NAME)["status"].clone();
        let all = status["unverified"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|u| u["reason"] == reason && u["image"] == image);
        Ok(found.ok_or_else(|| status.to_string()))
    })
    .unwrap();
    let explained = ward.explain("pipeline", NAME);
    assert!(explained.contains(image) && explained.contains(reason), "{explained}");
    found
}

fn by_hand_is_refused(ward: &Ward, image: &str) {
    let other = format!("{}/running/web@sha256:{}", hospital().lab.registry(), "b".repeat(64));
    for (image, words) in [
        ("busybox:latest", "is not named by its digest"),
        (&other, "is not on the list of verified"),
    ] {
        let refusal = ward.cluster.create(&format!("{TARGET}/pods"), &pod(image)).unwrap_err();
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
    ward.cluster.create(&format!("{TARGET}/pods"), &pod(image)).expect("a verified one");
    ward.cluster.delete(&format!("{TARGET}/pods/by-hand?gracePeriodSeconds=0")).unwrap();
}

/// Not even an administrator changes it; with the engine's own token it can be, and comes back.
fn the_list_comes_back(ward: &Ward, hex: &str) {
    let evil = json!({"data": {"e".repeat(64): "docker.io/library/evil", hex: null}});
    let refusal = ward.cluster.merge(LIST, "tests", &evil).unwrap_err();
    assert!(refusal.message.contains("only Tidegate writes it"), "{}", refusal.message);
    let before = listed(ward);
    let engine = hospital().lab.service_account_kubeconfig("tidegate-system", "tidegate").unwrap();
    Cluster::open(&engine).unwrap().merge(LIST, "tests", &evil).unwrap();
    until("the list is as it was", PATIENCE, || {
        let now = listed(ward);
        Ok(if now == before { Ok(()) } else { Err(now.to_string()) })
    })
    .unwrap();
}

fn label(ward: &Ward, value: &Value) {
    let label = json!({"metadata": {"labels": {"tidegate.dev/verified-images": value}}});
    ward.cluster.merge("/api/v1/namespaces/running-dev", "tests", &label).unwrap();
}

/// Where enforcement was taken away, that is told, and so is what then started.
fn what_no_release_names_is_told(ward: &Ward) {
    label(ward, &json!(null));
    ward.says("pipelines", NAME, "Enforced", &["running-dev", "tidegate bootstrap"]);
    let image = format!("docker.io/library/busybox@sha256:{}", "c".repeat(64));
    until("the API server lets it in", PATIENCE, || {
        let made = ward.cluster.create(&format!("{TARGET}/pods"), &pod(&image));
        Ok(made.map_err(|refusal| refusal.message))
    })
    .unwrap();
    let found = unverified(ward, "NotListed", &image);
    assert_eq!((&found["object"], &found["pods"]), (&json!("Pod by-hand"), &json!(1)));
    verified(ward, "False", "busybox");
    label(ward, &json!("enforce"));
    ward.cluster.delete(&format!("{TARGET}/pods/by-hand?gracePeriodSeconds=0")).unwrap();
    verified(ward, "True", "");
}

/// What the node reports counts, not what the pod says.
fn another_image_than_stated_is_told(ward: &Ward, pod: &str, image: &str) {
    let path = format!("{TARGET}/pods/{pod}/status");
    let report = |id: &str| {
        let status = json!({"name": "web", "image": image, "imageID": id, "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let change = json!({"status": {"containerStatuses": [status]}});
        ward.cluster.merge(&path, "tests", &change).unwrap();
    };
    let repository = image.split('@').next().unwrap();
    let other = format!("{repository}@sha256:{}", "d".repeat(64));
    report(&other);
    let found = unverified(ward, "Different", &other);
    let owner = found["object"].as_str().unwrap();
    assert!(owner.starts_with("Deployment web, ReplicaSet web-"), "{owner}");
    report(image);
    verified(ward, "True", "");
}

fn a_revocation_is_known_at_once(ward: &Ward, pem: &str, image: &str, hex: &str) {
    let reason = "the build machine was broken into";
    trust(pem, &json!([{"digest": format!("sha256:{hex}"), "reason": reason}]));
    let found = unverified(ward, "Revoked", image);
    assert!(found["message"].as_str().unwrap().contains(reason), "{found}");
    assert!(found["object"].as_str().unwrap().starts_with("Deployment web"), "{found}");
    verified(ward, "False", reason);
    until("it left the list", PATIENCE, || {
        let now = listed(ward);
        Ok(if now[hex].is_null() { Ok(()) } else { Err(now.to_string()) })
    })
    .unwrap();
    until("new pods with it are refused", PATIENCE, || {
        let made = ward.cluster.create(&format!("{TARGET}/pods?dryRun=All"), &pod(image));
        Ok(made.err().map(|_| ()).ok_or_else(|| "it is let in".to_owned()))
    })
    .unwrap();
    let still = ward.cluster.list(&format!("{TARGET}/pods?labelSelector=app%3Dweb")).unwrap();
    assert_eq!(still.len(), 1, "what runs goes on");
    until("an Event tells it", PATIENCE, || {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{NAME}/events");
        let events = ward.cluster.list(&path)?;
        let told = events.iter().any(|e| {
            e["reason"] == "Revoked" && e["note"].as_str().is_some_and(|n| n.contains(reason))
        });
        Ok(if told { Ok(()) } else { Err(format!("{} Events", events.len())) })
    })
    .unwrap();
}

/// SHA-256 of a public key, as policies name it.
fn fingerprint(pem: &str) -> Digest {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key: ByteString = serde_json::from_value(json!(body)).unwrap();
    Digest::of(&key.0)
}

fn so_is_that_of_the_key_that_signed(ward: &Ward, pem: &str, image: &str, hex: &str) {
    trust(pem, &json!([]));
    verified(ward, "True", "");
    assert!(listed(ward)[hex].is_string(), "what is pardoned is listed again");
    let key = fingerprint(pem).to_string();
    trust(pem, &json!([{"key": key, "reason": "the key was copied"}]));
    unverified(ward, "Revoked", image);
    until("it left the list", PATIENCE, || {
        let now = listed(ward);
        Ok(if now[hex].is_null() { Ok(()) } else { Err(now.to_string()) })
    })
    .unwrap();
}

#[test]
fn what_an_environment_cannot_say_of_images_is_refused() {
    let cluster = Cluster::open(&hospital().lab.kubeconfig()).unwrap();
    let digest = format!("sha256:{}", "a".repeat(64));
    let field = |group: &str, path: &str| json!({"imageFields": [{"group": group, "kind": "Robot", "paths": [path]}]});
    for (spec, words) in [
        (json!({"alsoVerified": [format!("mesh.example.com/proxy@{digest}")]}), ""),
        (json!({"alsoVerified": ["mesh.example.com/proxy:1.0"]}), "should match"),
        (json!({"alsoVerified": [format!("two words@{digest}")]}), "should match"),
        (field("example.com", "/spec/tools/*/image"), ""),
        (field("example.com", "/spec/a~1b/image"), ""),
        (field("example.com", "spec/image"), "should match"),
        (field("example.com", "/spec/to*ls"), "should match"),
        (field("apps", "/spec/image"), "those of Kubernetes and of Tidegate are known"),
        (field("batch.k8s.io", "/spec/image"), "those of Kubernetes and of Tidegate are known"),
    ] {
        let mut environment = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Environment",
            "metadata": {"name": "production", "namespace": "default"},
            "spec": {"class": "production", "pipeline": "clinic"},
        });
        environment["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let said = cluster.dry_run(&environment).err().map_or_else(String::new, |e| e.to_string());
        assert_eq!(said.is_empty(), words.is_empty(), "{environment}: {said}");
        assert!(said.contains(words), "{said}");
    }
}
