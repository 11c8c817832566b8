//! What tests of the product may rely on in a lab.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::supervisor::{self, Part, Supervisor};
use crate::{Binaries, Lab, eventually};

const SOON: Duration = Duration::from_mins(1);

fn lab() -> &'static Lab {
    Lab::attach_or_start().unwrap()
}

async fn create<K>(api: &Api<K>, object: serde_json::Value)
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

fn pod_template(app: &str, label: Option<&str>) -> serde_json::Value {
    let mut labels = json!({"app": app});
    if let Some(label) = label {
        labels[label] = "true".into();
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]},
    })
}

#[tokio::test]
async fn a_deployment_runs_and_a_pod_marked_as_failing_fails() {
    let client = Lab::client(&lab().kubeconfig()).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    create(
        &deployments,
        json!({
            "metadata": {"name": "runs"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "runs"}},
                "template": pod_template("runs", None),
            },
        }),
    )
    .await;
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut failing =
        pod_template("fails", Some("pod-container-running-failed.stage.kwok.x-k8s.io"));
    failing["metadata"]["name"] = "fails".into();
    create(&pods, failing).await;

    eventually("both replicas are available", SOON, async || {
        let status = deployments.get("runs").await.unwrap().status?;
        (status.available_replicas == Some(2)).then_some(())
    })
    .await
    .unwrap();
    eventually("the pod fails", SOON, async || {
        let phase = pods.get("fails").await.unwrap().status?.phase?;
        (phase == "Failed").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_database_cluster_becomes_healthy_and_breaks_on_demand() {
    let client = Lab::client(&lab().kubeconfig()).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"));
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, "default", &kind);
    for (name, broken) in [("sound", "false"), ("unsound", "true")] {
        create(
            &clusters,
            json!({
                "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
                "metadata": {"name": name, "labels": {"lab/broken": broken}},
                "spec": {"instances": 2, "storage": {"size": "1Gi"}},
            }),
        )
        .await;
    }
    for (name, ready) in [("sound", 2), ("unsound", 0)] {
        eventually("the operator reports on the cluster", SOON, async || {
            let cluster = clusters.get(name).await.unwrap();
            (cluster.data["status"]["readyInstances"] == ready).then_some(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn people_and_service_accounts_are_known_by_name() {
    let who = async |kubeconfig: &Path| {
        let reviews: Api<SelfSubjectReview> = Api::all(Lab::client(kubeconfig).await.unwrap());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        review.unwrap().status.unwrap().user_info.unwrap()
    };
    let jane = who(&lab().person("jane", &["release-managers"]).unwrap()).await;
    assert_eq!(jane.username.as_deref(), Some("jane"));
    assert!(jane.groups.unwrap().contains(&"release-managers".to_owned()));

    let admin = Lab::client(&lab().kubeconfig()).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, "default");
    create(&accounts, json!({"metadata": {"name": "robot"}})).await;
    let robot = who(&lab().service_account_kubeconfig("default", "robot").unwrap()).await;
    assert_eq!(robot.username.as_deref(), Some("system:serviceaccount:default:robot"));
}

#[test]
fn a_signature_counts_for_the_image_and_the_key_it_was_made_with() {
    let lab = lab();
    let image = |tag, content| {
        let digest = lab.push_image("team/app", tag, content, &[("version", "1")]).unwrap();
        format!("{}/team/app@{digest}", lab.registry())
    };
    let (signed, other) = (image("1", "one"), image("2", "two"));
    assert_eq!(signed, image("again", "one"), "equal content has an equal digest");
    let (ours, theirs) = (lab.cosign_key("ours").unwrap(), lab.cosign_key("theirs").unwrap());

    let signature = lab.sign(&signed, &ours).unwrap();
    lab.verify(&signed, &ours).unwrap();
    lab.verify(&signed, &theirs).unwrap_err();
    lab.verify(&other, &ours).unwrap_err();
    lab.attach_signature(&signature, &other).unwrap();
    lab.verify(&other, &ours).unwrap_err();
}

#[test]
fn a_lab_of_ones_own_outlives_outages_of_its_parts() {
    let lab = Lab::start_fresh().unwrap();
    let key = lab.cosign_key("key").unwrap();
    let digest = lab.push_image("app", "1", "content", &[]).unwrap();
    let image = format!("{}/app@{digest}", lab.registry());
    lab.sign(&image, &key).unwrap();
    lab.stop_registry().unwrap();
    lab.verify(&image, &key).unwrap_err();
    lab.start_registry().unwrap();
    lab.verify(&image, &key).unwrap();

    lab.stop_api_server().unwrap();
    lab.service_account_kubeconfig("default", "default").unwrap_err();
    lab.start_api_server().unwrap();
    lab.service_account_kubeconfig("default", "default").unwrap();
}

#[test]
fn a_private_repository_takes_pushes_with_its_password_and_survives_an_outage() {
    let lab = lab();
    let url = lab.create_repo("private", Some(("robot", "secret"))).unwrap();
    let first =
        lab.commit("private", "main", &[("a", Some("1")), ("b", Some("2"))], "One").unwrap();
    let with_password = url.replace("http://", "http://robot:secret@");
    let clone = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(clone.path()).args(args).env("GIT_TERMINAL_PROMPT", "0");
        crate::error::run("using the lab's Git server", &mut command)
    };
    git(&["clone", "--quiet", &url, "."]).unwrap_err();
    git(&["clone", "--quiet", &with_password, "."]).unwrap();
    assert_eq!(git(&["rev-parse", "HEAD"]).unwrap().trim(), first);

    let second = lab.commit("private", "main", &[("a", None)], "Two").unwrap();
    lab.stop_git().unwrap();
    git(&["fetch", "--quiet"]).unwrap_err();
    lab.start_git().unwrap();
    git(&["pull", "--quiet"]).unwrap();
    assert_eq!(git(&["rev-parse", "HEAD"]).unwrap().trim(), second);
    assert_eq!(git(&["ls-files"]).unwrap().trim(), "b");
    git(&["push", "--quiet", "origin", "HEAD:refs/heads/environments/dev"]).unwrap();
    assert!(lab.git_dir("private").join("refs/heads/environments/dev").exists());
}

#[test]
fn nothing_of_a_lab_outlives_its_starter() {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::create_dir(folder.join("logs")).unwrap();
    let supervisor = Supervisor::start(&Binaries::ensure().unwrap().labd, &folder).unwrap();
    let part = Part { args: ["sleep", "1000"].map(str::to_owned).into(), env: Vec::new() };
    let pid = supervisor::start(&folder, "sleep", &part).unwrap();
    let process = Path::new("/proc").join(pid.to_string());
    assert!(process.exists());
    drop(supervisor);
    assert!(!process.exists());
    assert!(!folder.exists());
}
