//! What people get wrong. Each time the object's condition and `tidegate explain` say what is wrong
//! and where, and the other lane goes on.

use serde_json::json;
use tidegate_harness::story::Cluster;

use crate::ward::{Plan, SETTINGS, Ward, hospital};

/// The app lane is refused in words, and the security lane arrives.
fn app_is_refused(name: &str, files: &[(&str, &str)], words: &[&str]) {
    let ward = Ward::with_app(name, files);
    ward.says("pipelines", name, "Lane-app", words);
    ward.security_goes_on();
}

#[test]
fn broken_yaml_is_named_by_file_and_line() {
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings\n";
    app_is_refused("broken-yaml", &[("dev/app/settings.yaml", broken)], &["dev/app/settings.yaml"]);
}

#[test]
fn an_object_stated_twice_is_named_with_both_files() {
    app_is_refused(
        "twice",
        &[("dev/app/one.yaml", SETTINGS), ("dev/app/two.yaml", SETTINGS)],
        &["ConfigMap", "settings", "one.yaml", "two.yaml"],
    );
}

#[test]
fn a_kustomization_that_reads_outside_the_repository_is_refused() {
    let kustomization = "resources: [../../../../etc/passwd]\n";
    app_is_refused(
        "outside",
        &[("dev/app/kustomization.yaml", kustomization)],
        &["dev/app/kustomization.yaml", "../../../../etc/passwd"],
    );
}

#[test]
fn a_remote_base_is_refused() {
    let base = "https://github.com/kubernetes-sigs/kustomize//examples/multibases?ref=v1.0.6";
    app_is_refused(
        "remote-base",
        &[("dev/app/kustomization.yaml", &format!("resources: [\"{base}\"]\n"))],
        &["dev/app/kustomization.yaml", "https://github.com/kubernetes-sigs/kustomize"],
    );
}

#[test]
fn an_image_that_nobody_follows_is_named() {
    let deployment = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: \"registry.example.com/hospital/web:1.0\"}]}
";
    app_is_refused(
        "no-digest",
        &[("dev/app/web.yaml", deployment)],
        &["registry.example.com/hospital/web:1.0", "digest"],
    );
}

#[test]
fn an_unknown_lane_is_refused_by_the_api_server() {
    let cluster = Cluster::open(&hospital().lab.kubeconfig()).unwrap();
    let image = json!({
        "repository": "registry.example.com/x/y", "follow": {"semver": "1"}, "lane": "ap",
    });
    for (more, words) in [
        (json!({"images": [image]}), "images[].lane must name one of spec.lanes"),
        (
            json!({"lanes": [{"name": "app", "requires": ["infra"]}]}),
            "lanes[].requires must name other lanes of spec.lanes",
        ),
    ] {
        let mut pipeline = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Pipeline",
            "metadata": {"name": "unknown-lane", "namespace": "default"}, "spec": more,
        });
        pipeline["spec"]["source"] = json!({"repository": "source"});
        let refusal = cluster.apply(&pipeline).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn a_missing_branch_is_named_with_those_that_exist() {
    let source = json!({"repository": "source", "branch": "mian"});
    let pipeline = json!({"source": source});
    let ward = Ward::plan(&Plan { name: "no-branch", pipeline, passwords: None });
    ward.says("pipelines", "no-branch", "Source", &["mian", "main"]);
    sound_ones_go_on("beside-no-branch");
}

#[test]
fn wrong_credentials_are_told_without_the_password() {
    let passwords = Some(("the right one", "something-wrong"));
    let ward = Ward::plan(&Plan { name: "credentials", pipeline: json!({}), passwords });
    ward.says("repositories", "source", "Ready", &["git-deploy", "refused"]);
    let told = ward.object("repositories", "source").to_string()
        + &ward.explain("pipeline", "credentials");
    assert!(!told.contains("something-wrong"), "the password is told: {told}");
    sound_ones_go_on("beside-credentials");
}

#[test]
fn an_unreachable_registry_holds_up_no_other_lane() {
    let image = json!({"repository": "127.0.0.1:9/hospital/web", "follow": {"semver": "1"}});
    let pipeline = json!({"images": [image]});
    let ward = Ward::plan(&Plan { name: "no-registry", pipeline, passwords: None });
    ward.commit(&[("dev/app/settings.yaml", SETTINGS)]);
    ward.says("pipelines", "no-registry", "Images", &["127.0.0.1:9"]);
    ward.security_goes_on();
}

#[test]
fn a_webhook_that_proves_nothing_or_is_too_large_is_turned_away() {
    let ward = Ward::with_app("hooks", &[("dev/app/settings.yaml", SETTINGS)]);
    let (service, hook) = (&hospital().service, ward.hook());
    let forged = service.call_hook(&hook, "not the secret", "main").unwrap();
    assert_eq!(forged.code, 401, "{}", forged.body);
    assert!(forged.body.contains("status.hook"), "{}", forged.body);
    let unknown = service.call_hook("/hooks/0000", "not the secret", "main").unwrap();
    assert_eq!((unknown.code, &unknown.body), (401, &forged.body), "the answer tells what exists");
    let large = vec![b' '; 1024 * 1024 + 1];
    assert_eq!(service.call_hook_with(&hook, "any", &large).unwrap().code, 413);
    ward.runs("configmaps", "settings");
}

/// Another pipeline of the same service.
fn sound_ones_go_on(name: &str) {
    let ward = Ward::with_app(name, &[("dev/app/settings.yaml", SETTINGS)]);
    ward.security_goes_on();
    ward.runs("configmaps", "settings");
}
