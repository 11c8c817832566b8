//! What may run in a target namespace, as the API server enforces it: by the list of verified
//! images alone, whoever makes the pod. The list here is written with the engine's own token.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate_harness::Lab;

use super::{People, impersonating};

const TARGET: &str = "clinic-dev";
const LIST: &str = "tidegate-verified-images";
const NOT_LISTED: &str = "is not on the list of verified images of the namespace clinic-dev";
const NO_DIGEST: &str = "is not named by its digest";

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

fn by(repository: &str, of: char) -> String {
    format!("{repository}@{}", digest(of))
}

pub async fn only_verified_images_run(lab: &Lab, admin: &Client, people: &People) {
    let engine = lab.service_account_kubeconfig("tidegate-system", "tidegate").unwrap();
    let lane = async |lane: &str| {
        let account = format!("system:serviceaccount:tidegate-deployers:clinic-dev-{lane}");
        impersonating(&engine, &account, &[]).await
    };
    let (app, infra) = (lane("app").await, lane("infra").await);
    usable(admin).await;

    let missing = refusal(admin, &pod("web", &by("redis", 'a'))).await;
    assert!(missing.contains("no params found"), "without a list nothing runs: {missing}");
    nobody_else_writes_the_list(admin, people, &app).await;
    for client in [admin, &app] {
        a_pod_runs_only_what_is_listed(client).await;
    }
    nothing_unlisted_is_brought_into_a_pod_that_runs(admin, people).await;
    a_controllers_pods_are_judged_too(admin).await;
    the_label_stays(admin, &infra).await;
    goes_away_whole(admin).await;
}

/// The service account that pods need, and the policy, take a moment. What pod security says is
/// another matter, and is left out here.
async fn usable(admin: &Client) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let any = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    namespaces.patch(TARGET, &PatchParams::default(), &Patch::Merge(any)).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), TARGET);
    until("pods can be made, and are judged", async || {
        accounts.get_opt("default").await.unwrap().is_some()
            && refusal(admin, &pod("web", "redis:7")).await.contains("verified-images")
    })
    .await;
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": TARGET},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

fn list(digests: &[(char, &str)]) -> ConfigMap {
    let data: serde_json::Map<String, Value> =
        digests.iter().map(|(of, names)| (of.to_string().repeat(64), json!(names))).collect();
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LIST, "namespace": TARGET},
        "data": data,
    }))
    .unwrap()
}

/// Why a pod is refused; empty when it is not.
async fn refusal(client: &Client, pod: &Value) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), TARGET);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let made = pods.create(&parameters, &serde_json::from_value(pod.clone()).unwrap()).await;
    made.err().map_or_else(String::new, |error| error.to_string())
}

async fn nobody_else_writes_the_list(admin: &Client, people: &People, app: &Client) {
    let wanted = list(&[('a', "docker.io/library/redis"), ('c', "ghcr.io/x/y ghcr.io/x/z")]);
    let parameters = PatchParams::apply("tests").force();
    for client in [admin, app, &people.false_engine, &people.robot] {
        let lists: Api<ConfigMap> = Api::namespaced(client.clone(), TARGET);
        let applied = lists.patch(LIST, &parameters, &Patch::Apply(&wanted)).await.unwrap_err();
        assert!(applied.to_string().contains("only Tidegate writes it"), "{applied}");
    }
    let lists: Api<ConfigMap> = Api::namespaced(app.clone(), TARGET);
    let made = lists.create(&PostParams::default(), &wanted).await.unwrap_err().to_string();
    assert!(made.contains("only Tidegate writes it"), "{made}");
    let engines: Api<ConfigMap> = Api::namespaced(people.engine.clone(), TARGET);
    engines.patch(LIST, &parameters, &Patch::Apply(&wanted)).await.expect("by its own right");
    let other = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("other".into()), ..wanted.metadata.clone() },
        ..wanted.clone()
    };
    let error = engines.create(&PostParams::default(), &other).await.unwrap_err();
    assert!(error.to_string().contains("cannot create resource"), "that name only: {error}");
    for client in [admin, app] {
        let lists: Api<ConfigMap> = Api::namespaced(client.clone(), TARGET);
        let more = Patch::Merge(json!({"data": {"d".repeat(64): "docker.io/library/evil"}}));
        let changed = lists.patch(LIST, &PatchParams::default(), &more).await.unwrap_err();
        assert!(changed.to_string().contains("may not update the list"), "{changed}");
        let deleted = lists.delete(LIST, &DeleteParams::default()).await.unwrap_err();
        assert!(deleted.to_string().contains("may not delete the list"), "{deleted}");
    }
    until("the list is in force", async || {
        refusal(admin, &pod("web", &by("redis", 'a'))).await.is_empty()
    })
    .await;
}

async fn a_pod_runs_only_what_is_listed(client: &Client) {
    for (image, words) in [
        (by("redis", 'a'), ""),
        (by("redis:7.4", 'a'), ""),
        (by("docker.io/redis", 'a'), ""),
        (by("index.docker.io/library/redis:7", 'a'), ""),
        (by("ghcr.io/x/z:1", 'c'), ""),
        (by("redis", 'b'), NOT_LISTED),
        (by("redis", 'c'), NOT_LISTED),
        (by("ghcr.io/x/y", 'a'), NOT_LISTED),
        (by("ghcr.io/x/y/library/redis", 'a'), NOT_LISTED),
        (by("localhost/library/redis", 'a'), NOT_LISTED),
        (by("127.0.0.1:5000/redis", 'a'), NOT_LISTED),
        ("redis".to_owned(), NO_DIGEST),
        ("redis:7.4".to_owned(), NO_DIGEST),
        (format!("redis:{}", "a".repeat(64)), NO_DIGEST),
    ] {
        let why = refusal(client, &pod("web", &image)).await;
        assert_eq!(why.is_empty(), words.is_empty(), "{image}: {why}");
        assert!(why.contains(words), "{image}: {why}");
    }
    let (good, bad) = (by("redis", 'a'), by("redis", 'b'));
    for (place, more) in [
        (
            "a second container",
            json!({"containers": [{"name": "web", "image": good}, {"name": "evil", "image": bad}]}),
        ),
        ("an init container", json!({"initContainers": [{"name": "evil", "image": bad}]})),
        (
            "a sidecar",
            json!({"initContainers": [{"name": "evil", "image": bad, "restartPolicy": "Always"}]}),
        ),
        ("an image volume", json!({"volumes": [{"name": "evil", "image": {"reference": bad}}]})),
    ] {
        let mut with = pod("web", &good);
        for (field, value) in more.as_object().unwrap() {
            with["spec"][field] = value.clone();
        }
        let why = refusal(client, &with).await;
        assert!(why.contains(NOT_LISTED), "{place}: {why}");
    }
}

async fn nothing_unlisted_is_brought_into_a_pod_that_runs(admin: &Client, people: &People) {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), TARGET);
    let mut made = pod("old", &by("redis", 'a'));
    made["metadata"]["finalizers"] = json!(["example.com/held"]);
    pods.create(&PostParams::default(), &serde_json::from_value(made).unwrap()).await.unwrap();
    let parameters = PatchParams::default();
    for (image, words) in [("busybox", NO_DIGEST), (&by("busybox", 'b'), NOT_LISTED)] {
        let other =
            Patch::Strategic(json!({"spec": {"containers": [{"name": "web", "image": image}]}}));
        let error = pods.patch("old", &parameters, &other).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        let debug = Patch::Strategic(
            json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}}),
        );
        let error = pods.patch_ephemeral_containers("old", &parameters, &debug).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let debug = Patch::Strategic(
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": by("redis", 'a')}]}}),
    );
    pods.patch_ephemeral_containers("old", &parameters, &debug).await.expect("a listed one");

    // What left the list starts nowhere any more, and does not hold up what runs or goes.
    let engines: Api<ConfigMap> = Api::namespaced(people.engine.clone(), TARGET);
    let mut without = list(&[('c', "ghcr.io/x/y")]);
    without.metadata.resource_version = engines.get(LIST).await.unwrap().metadata.resource_version;
    engines.replace(LIST, &PostParams::default(), &without).await.unwrap();
    until("it left the list", async || {
        refusal(admin, &pod("web", &by("redis", 'a'))).await.contains(NOT_LISTED)
    })
    .await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
    pods.patch("old", &parameters, &label).await.expect("a label brings no image");
    pods.delete("old", &DeleteParams::default().grace_period(0)).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("old", &parameters, &free).await.expect("finalizers go");
    until("the pod is gone", async || pods.get_opt("old").await.unwrap().is_none()).await;
}

async fn a_controllers_pods_are_judged_too(admin: &Client) {
    let deployments: Api<Deployment> = Api::namespaced(admin.clone(), TARGET);
    let sets: Api<ReplicaSet> = Api::namespaced(admin.clone(), TARGET);
    let pods: Api<Pod> = Api::namespaced(admin.clone(), TARGET);
    for (name, image) in [("good", by("ghcr.io/x/y", 'c')), ("evil", by("ghcr.io/x/y", 'd'))] {
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]},
            }},
        });
        let deployment = serde_json::from_value(deployment).unwrap();
        deployments.create(&PostParams::default(), &deployment).await.unwrap();
    }
    let of = |name: &str| ListParams::default().labels(&format!("app={name}"));
    until("the listed one runs", async || !pods.list(&of("good")).await.unwrap().items.is_empty())
        .await;
    until("the ReplicaSet says why the other one does not", async || {
        let found = sets.list(&of("evil")).await.unwrap().items;
        let conditions = found.into_iter().filter_map(|s| s.status?.conditions).flatten();
        conditions.into_iter().any(|c| c.message.unwrap_or_default().contains(NOT_LISTED))
    })
    .await;
    assert!(pods.list(&of("evil")).await.unwrap().items.is_empty());
}

async fn the_label_stays(admin: &Client, infra: &Client) {
    let parameters = PatchParams::default();
    let by_lane: Api<Namespace> = Api::all(infra.clone());
    let other = Patch::Merge(json!({"metadata": {"labels": {"team": "ward"}}}));
    by_lane.patch(TARGET, &parameters, &other).await.expect("the lane's own namespace");
    for value in [json!(null), json!("off")] {
        let off =
            Patch::Merge(json!({"metadata": {"labels": {"tidegate.dev/verified-images": value}}}));
        let error = by_lane.patch(TARGET, &parameters, &off).await.unwrap_err().to_string();
        assert!(error.contains("only who may update environmentclasses decides that"), "{error}");
    }
    // Who may say it in a class may say it here.
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let off = Patch::Merge(json!({"metadata": {"labels": {"tidegate.dev/verified-images": null}}}));
    namespaces.patch(TARGET, &parameters, &off).await.unwrap();
    until("everything runs then", async || refusal(admin, &pod("web", "redis:7")).await.is_empty())
        .await;
    let on = json!({"metadata": {"labels": {"tidegate.dev/verified-images": "enforce"}}});
    namespaces.patch(TARGET, &parameters, &Patch::Merge(on)).await.unwrap();
}

/// The list, and pods whose image is not on it, do not stand in a namespace's way.
async fn goes_away_whole(admin: &Client) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.delete(TARGET, &DeleteParams::default()).await.unwrap();
    until("the namespace is gone", async || namespaces.get_opt(TARGET).await.unwrap().is_none())
        .await;
}
