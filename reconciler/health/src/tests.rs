use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_ids::{GroupKind, ObjectId};
use tidegate_schemas::Health::{self, Failed, Healthy, Progressing, Terminating};

use crate::{Related, judge, total};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn state(object: &Value) -> Health {
    judge(object, &Related::default(), now()).state
}

fn deployment(status: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"uid": "d", "generation": 2}, "spec": {"replicas": 2}, "status": status})
}

fn rolled_out() -> Value {
    deployment(
        &json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
    )
}

fn stuck() -> Value {
    deployment(
        &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}),
    )
}

fn replica_set(revision: &str, hash: &str) -> Value {
    json!({"metadata": {"labels": {"pod-template-hash": hash},
        "annotations": {"deployment.kubernetes.io/revision": revision},
        "ownerReferences": [{"uid": "d"}]}})
}

fn failed_pod(hash: &str, at: &str) -> Value {
    json!({"metadata": {"name": "web-1", "labels": {"pod-template-hash": hash}, "creationTimestamp": at},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "web", "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "reason": "containerFailed", "finishedAt": at}}}]}})
}

fn waiting_pod(hash: &str, reason: &str, restarts: i64) -> Value {
    json!({"metadata": {"name": "web-1", "labels": {"pod-template-hash": hash}, "creationTimestamp": "2026-01-01T11:59:00Z"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "restartCount": restarts,
            "state": {"waiting": {"reason": reason}}}]}})
}

fn with(pods: Vec<Value>) -> Related {
    Related { replica_sets: vec![replica_set("1", "old"), replica_set("2", "new")], pods }
}

#[test]
fn each_kind_says_how_it_is_in_its_own_way() {
    let of = |kind: &str, status: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "spec": {}, "status": status});
    let job = |status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": false}, "status": status});
    let db = |status: Value| json!({"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "spec": {"instances": 2}, "status": status});
    let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "message": "m"}]});
    let cases = [
        (of("ConfigMap", json!(null)), Healthy),
        (of("PersistentVolumeClaim", json!({"phase": "Pending"})), Progressing),
        (of("PersistentVolumeClaim", json!({"phase": "Lost"})), Failed),
        (of("Pod", json!({"phase": "Failed"})), Failed),
        (of("Pod", json!({"phase": "Succeeded"})), Healthy),
        (of("Namespace", json!({"phase": "Terminating"})), Terminating),
        (job(condition("Failed", "True")), Failed),
        (job(condition("Complete", "True")), Healthy),
        (job(json!({})), Progressing),
        (db(json!({})), Progressing),
        (db(json!({"phase": "Setting up", "readyInstances": 1})), Progressing),
        (
            db(
                json!({"phase": "ok", "readyInstances": 2, "conditions": [{"type": "Ready", "status": "True"}]}),
            ),
            Healthy,
        ),
        (db(json!({"phase": "Cluster is unrecoverable and needs manual intervention"})), Failed),
        (
            json!({"apiVersion": "x.example/v1", "kind": "Thing", "status": condition("Ready", "False")}),
            Progressing,
        ),
        (
            json!({"apiVersion": "x.example/v1", "kind": "Thing", "status": condition("Stalled", "True")}),
            Failed,
        ),
        (
            json!({"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"generation": 3}, "status": {"observedGeneration": 2}}),
            Progressing,
        ),
        (
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "status": condition("Established", "True")}),
            Healthy,
        ),
        (deployment(&json!({})), Progressing),
        (rolled_out(), Healthy),
        (stuck(), Progressing),
        (
            deployment(
                &json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
            ),
            Failed,
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(state(&object), expected, "{object}");
    }
}

#[test]
fn a_workload_fails_when_pods_of_its_newest_revision_do() {
    let cases = [
        (
            "two failed pods of the newest revision",
            stuck(),
            with(vec![
                failed_pod("new", "2026-01-01T11:50:00Z"),
                failed_pod("new", "2026-01-01T11:51:00Z"),
            ]),
            Failed,
        ),
        (
            "one failed pod while others are available",
            stuck(),
            with(vec![failed_pod("new", "2026-01-01T11:50:00Z")]),
            Progressing,
        ),
        (
            "failed pods of the former revision",
            stuck(),
            with(vec![
                failed_pod("old", "2026-01-01T11:59:50Z"),
                failed_pod("old", "2026-01-01T11:59:55Z"),
            ]),
            Progressing,
        ),
        ("a crash loop", stuck(), with(vec![waiting_pod("new", "CrashLoopBackOff", 2)]), Failed),
        (
            "an image that cannot be pulled",
            stuck(),
            with(vec![waiting_pod("new", "ImagePullBackOff", 0)]),
            Failed,
        ),
        (
            "long healed failures",
            rolled_out(),
            with(vec![
                failed_pod("new", "2026-01-01T11:00:00Z"),
                failed_pod("new", "2026-01-01T11:01:00Z"),
            ]),
            Healthy,
        ),
        (
            "failing again and again while available for moments",
            rolled_out(),
            with(vec![
                failed_pod("new", "2026-01-01T11:59:20Z"),
                failed_pod("new", "2026-01-01T11:59:50Z"),
            ]),
            Failed,
        ),
    ];
    for (case, workload, related, expected) in cases {
        assert_eq!(judge(&workload, &related, now()).state, expected, "{case}");
    }
}

#[test]
fn one_failed_pod_is_enough_when_nothing_is_available() {
    let down = deployment(&json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}));
    let judged = judge(&down, &with(vec![failed_pod("new", "2026-01-01T11:59:59Z")]), now());
    assert_eq!(judged.state, Failed);
    assert_eq!(judged.message, "pod web-1: container web ended with exit code 1 (containerFailed)");
}

#[test]
fn an_evicted_pod_is_the_nodes_doing() {
    let down = deployment(&json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}));
    let mut pod = failed_pod("new", "2026-01-01T11:59:59Z");
    pod["status"]["reason"] = json!("Evicted");
    assert_eq!(judge(&down, &with(vec![pod]), now()).state, Progressing);
}

#[test]
fn a_verdict_that_rests_on_recency_says_when_to_look_again() {
    let pods =
        vec![failed_pod("new", "2026-01-01T11:59:20Z"), failed_pod("new", "2026-01-01T11:59:50Z")];
    let judged = judge(&rolled_out(), &with(pods), now());
    assert_eq!(judged.recheck, Some("2026-01-01T12:00:50Z".parse().unwrap()));
}

#[test]
fn the_worst_object_decides_and_comes_first() {
    let id = |name: &str| ObjectId {
        group_kind: GroupKind::new("", "Pod"),
        namespace: None,
        name: name.into(),
    };
    let of = |state| crate::Judgement { state, message: String::new(), recheck: None };
    let judged = [(id("a"), of(Progressing)), (id("b"), of(Failed)), (id("c"), of(Healthy))];
    let (state, objects) = total(judged.iter().map(|(i, j)| (i, j)));
    assert_eq!(state, Failed);
    assert_eq!(objects.iter().map(|o| o.object.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(total([]), (Healthy, vec![]));
}
