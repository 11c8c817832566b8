//! What tests do to a cluster as its administrator: apply what the command line prints.

use std::path::Path;
use std::process::Command;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};

/// What `tidegate <arguments>` prints; the test fails when it fails.
pub fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "tidegate {arguments:?}: {stderr}");
    stdout.into_owned()
}

/// The exit code, standard output and standard error of `tidegate <arguments>` as a person.
pub fn as_person(kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Server-side applies every document, in order.
pub async fn apply(client: &kube::Client, yaml: &str) {
    for manifest in tidegate_manifest::manifests(yaml.as_bytes(), "applied").unwrap() {
        let id = manifest.id().clone();
        let (group, version) =
            manifest.api_version().split_once('/').unwrap_or(("", manifest.api_version()));
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &id.group_kind.kind));
        let api: Api<DynamicObject> = match &id.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let parameters = PatchParams::apply("tests").force();
        api.patch(&id.name, &parameters, &Patch::Apply(manifest.value()))
            .await
            .unwrap_or_else(|error| panic!("applying {id}: {error}"));
    }
}
