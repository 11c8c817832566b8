//! What the API server itself enforces, under the shipped policies and roles alone: no engine
//! runs here. Each person has an own client certificate.

mod images;
mod trust;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate_harness::Lab;
use tidegate_schemas::{Approval, Promotion, Release, Sync};

use crate::cluster::{apply, printed};

const ROBOT: &str = "system:serviceaccount:clinic:robot";
const HOME: &str = "clinic";
const CHANGE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const COMMIT: &str = "1111111111111111111111111111111111111111";

#[tokio::test]
async fn the_api_server_refuses_what_is_not_a_persons_own_word() {
    let lab = Lab::start_fresh().unwrap();
    let admin = Lab::client(&lab.kubeconfig()).await.unwrap();
    install(&admin).await;
    let people = People::of(&lab).await;
    policies_hold(&admin).await;

    approvals(&people).await;
    promotions(&people).await;
    records_and_statuses(&admin, &people).await;
    syncs(&people).await;
    trust::what_can_never_match_is_refused(&admin).await;
    the_engine_becomes_deployer_accounts_only(&lab).await;
    images::only_verified_images_run(&lab, &admin, &people).await;
    a_namespace_can_still_be_deleted(&admin).await;
}

struct People {
    /// A release manager.
    jane: Client,
    /// May create approvals and promotions, and holds no verb on environments.
    mallory: Client,
    /// A platform engineer who may also use the account `tools-deployer`.
    pat: Client,
    /// The administrator, as jane.
    forger: Client,
    /// The engine with its own token.
    engine: Client,
    /// A service account with every right.
    robot: Client,
    /// The administrator, as the engine.
    false_engine: Client,
}

impl People {
    async fn of(lab: &Lab) -> Self {
        let person = async |name: &str, groups: &[&str]| {
            Lab::client(&lab.person(name, groups).unwrap()).await.unwrap()
        };
        let engine = lab.service_account_kubeconfig("tidegate-system", "tidegate").unwrap();
        let engine_name = "system:serviceaccount:tidegate-system:tidegate";
        Self {
            jane: person("jane", &["release-managers"]).await,
            mallory: person("mallory", &["staff"]).await,
            pat: person("pat", &["platform"]).await,
            forger: impersonating(&lab.kubeconfig(), "jane", &["release-managers"]).await,
            engine: Lab::client(&engine).await.unwrap(),
            robot: impersonating(&lab.kubeconfig(), ROBOT, &["system:masters"]).await,
            false_engine: impersonating(&lab.kubeconfig(), engine_name, &[]).await,
        }
    }
}

async fn impersonating(kubeconfig: &Path, user: &str, groups: &[&str]) -> Client {
    let mut file = Kubeconfig::read_from(kubeconfig).unwrap();
    let auth = file.auth_infos[0].auth_info.as_mut().unwrap();
    auth.impersonate = Some(user.to_owned());
    auth.impersonate_groups =
        (!groups.is_empty()).then(|| groups.iter().map(|g| (*g).to_owned()).collect());
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Exactly what `install` and `bootstrap` print, and who is who in one namespace.
async fn install(admin: &Client) {
    apply(admin, &printed(&["install"])).await;
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("clinic.yaml");
    std::fs::write(
        &pipeline,
        "apiVersion: tidegate.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: clinic, namespace: clinic}\nspec: {source: {repository: environments}, environments: [dev]}\n---\napiVersion: tidegate.dev/v1alpha1\nkind: EnvironmentClass\nmetadata: {name: dev}\nspec: {}\n",
    )
    .unwrap();
    apply(admin, &printed(&["bootstrap", &pipeline.display().to_string()])).await;
    apply(
        admin,
        "
apiVersion: v1
kind: Namespace
metadata: {name: clinic}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: release-managers, namespace: clinic}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-release-manager}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: release-managers}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: platform, namespace: clinic}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-platform-engineer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: platform}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: creates-only, namespace: clinic}
rules: [{apiGroups: [tidegate.dev], resources: [approvals, promotions], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: creates-only, namespace: clinic}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: creates-only}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: staff}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tools-deployer, namespace: tidegate-deployers}
rules: [{apiGroups: [''], resources: [serviceaccounts], resourceNames: [tools-deployer], verbs: [impersonate]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tools-deployer, namespace: tidegate-deployers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tools-deployer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: platform}]
",
    )
    .await;
}

/// The API server takes a moment to see new kinds, roles and policies.
async fn policies_hold(admin: &Client) {
    let guarded = ["Approval", "Promotion", "Release"];
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut open = Vec::new();
        for kind in guarded {
            let refused = match kind {
                "Approval" => {
                    dry_refusal::<Approval>(admin, approval("nobody", &[], "dev", "Approve")).await
                }
                "Promotion" => {
                    dry_refusal::<Promotion>(admin, promotion("nobody", "Promote")).await
                }
                _ => dry_refusal::<Release>(admin, release()).await,
            };
            if !refused.contains("ValidatingAdmissionPolicy 'tidegate-") {
                open.push((kind, refused));
            }
        }
        if open.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "policies not in force: {open:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn approval(user: &str, groups: &[&str], environment: &str, decision: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Approval",
        "metadata": {"generateName": "clinic-", "namespace": HOME},
        "spec": {"promotion": "clinic-dev-app-1", "promotionUid": "u", "environment": environment, "change": CHANGE,
                 "decision": decision, "user": user, "groups": groups, "reason": "because"},
    })
}

fn promotion(requested_by: &str, kind: &str) -> Value {
    let mut value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Promotion",
        "metadata": {"generateName": "clinic-dev-app-", "namespace": HOME},
        "spec": {"pipeline": "clinic", "environment": "dev", "lane": "app", "release": "clinic-app-3f9c1a2b7d",
                 "kind": kind, "reason": "because"},
    });
    if !requested_by.is_empty() {
        value["spec"]["requestedBy"] = Value::from(requested_by);
    }
    value
}

fn release() -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release",
        "metadata": {"generateName": "clinic-app-", "namespace": HOME},
        "spec": {"pipeline": "clinic", "lane": "app", "id": CHANGE, "sequence": 1,
                 "source": {"commit": COMMIT, "author": "Jane", "title": "Change", "time": "2026-01-01T00:00:00Z"},
                 "rendered": {"dev": {"manifests": CHANGE, "objects": 1}}},
    })
}

fn sync(name: &str, account: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Sync",
        "metadata": {"name": name, "namespace": HOME, "labels": labels},
        "spec": {"source": {"repository": "environments"}, "target": {"namespace": "tools"}, "account": account},
    })
}

trait Record:
    kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
    + serde::de::DeserializeOwned
    + serde::Serialize
    + Clone
    + std::fmt::Debug
{
}
impl<T> Record for T where
    T: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + serde::de::DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug
{
}

async fn created<K: Record>(client: &Client, value: Value) -> Result<K, String> {
    let object: K = serde_json::from_value(value).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), HOME);
    api.create(&PostParams::default(), &object).await.map_err(|error| error.to_string())
}

/// Why a dry run is refused; empty when it is not.
async fn dry_refusal<K: Record>(client: &Client, value: Value) -> String {
    let object: K = serde_json::from_value(value).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), HOME);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&parameters, &object).await.err().map_or_else(String::new, |e| e.to_string())
}

async fn refused<K: Record>(client: &Client, value: Value, words: &str) {
    match created::<K>(client, value.clone()).await {
        Ok(_) => panic!("accepted, but should say {words:?}: {value}"),
        Err(error) => assert!(error.contains(words), "says {error:?} and not {words:?}"),
    }
}

async fn approvals(people: &People) {
    let own = approval("jane", &["release-managers"], "dev", "Approve");
    let as_mallory = approval("mallory", &[], "dev", "Approve");
    refused::<Approval>(
        &people.mallory,
        as_mallory,
        "mallory may not approve changes to the environment dev",
    )
    .await;
    let rejection = approval("mallory", &[], "dev", "Reject");
    refused::<Approval>(&people.mallory, rejection, "for the verb reject on environments/dev")
        .await;
    refused::<Approval>(
        &people.mallory,
        own.clone(),
        "spec.user is jane, but this request was made by mallory",
    )
    .await;
    refused::<Approval>(
        &people.forger,
        own.clone(),
        "jane's own credential: this request is impersonated",
    )
    .await;
    let claims = approval("jane", &["release-managers", "security-officers"], "dev", "Approve");
    refused::<Approval>(
        &people.jane,
        claims,
        "jane is not in the group security-officers that spec.groups claims",
    )
    .await;
    let machines = approval("jane", &["system:authenticated"], "dev", "Approve");
    refused::<Approval>(&people.jane, machines, "machines' groups").await;
    let by_robot = approval(ROBOT, &[], "dev", "Approve");
    refused::<Approval>(&people.robot, by_robot, "is a machine: an approval is a person's word")
        .await;

    created::<Approval>(&people.jane, own).await.expect("a release manager's own approval");
    let rejection = approval("jane", &["release-managers"], "dev", "Reject");
    created::<Approval>(&people.jane, rejection).await.expect("a release manager's own rejection");
}

async fn promotions(people: &People) {
    refused::<Promotion>(
        &people.mallory,
        promotion("mallory", "Promote"),
        "mallory may not promote in the environment dev",
    )
    .await;
    refused::<Promotion>(
        &people.mallory,
        promotion("mallory", "Rollback"),
        "mallory may not rollback",
    )
    .await;
    refused::<Promotion>(
        &people.jane,
        promotion("joe", "Promote"),
        "spec.requestedBy must be jane",
    )
    .await;
    refused::<Promotion>(&people.jane, promotion("", "Promote"), "spec.requestedBy must be jane")
        .await;
    refused::<Promotion>(
        &people.forger,
        promotion("jane", "Promote"),
        "this request is impersonated",
    )
    .await;
    refused::<Promotion>(
        &people.engine,
        promotion("jane", "Promote"),
        "Tidegate makes has no requestedBy",
    )
    .await;
    refused::<Promotion>(&people.false_engine, promotion("", "Promote"), "is a machine").await;

    created::<Promotion>(&people.jane, promotion("jane", "Promote"))
        .await
        .expect("a release manager's promotion");
    created::<Promotion>(&people.jane, promotion("jane", "Rollback"))
        .await
        .expect("a release manager's rollback");
    created::<Promotion>(&people.engine, promotion("", "Promote"))
        .await
        .expect("the engine's promotion");
}

async fn records_and_statuses(admin: &Client, people: &People) {
    refused::<Release>(admin, release(), "admin may not make a Release").await;
    refused::<Release>(&people.false_engine, release(), "may not make a Release").await;
    let release =
        created::<Release>(&people.engine, release()).await.expect("the engine's release");
    let name = release.metadata.name.unwrap();

    let status = Patch::Merge(json!({"status": {"quarantined": []}}));
    let releases: Api<Release> = Api::namespaced(admin.clone(), HOME);
    let error = releases.patch_status(&name, &PatchParams::default(), &status).await.unwrap_err();
    assert!(error.to_string().contains("admin may not write the status of releases"), "{error}");
    let by_engine: Api<Release> = Api::namespaced(people.engine.clone(), HOME);
    by_engine.patch_status(&name, &PatchParams::default(), &status).await.expect("the engine's");

    let labels = Patch::Merge(json!({"metadata": {"labels": {"reviewed": "yes"}}}));
    releases
        .patch(&name, &PatchParams::default(), &labels)
        .await
        .expect("a label is nobody's word");
    let error = releases.delete(&name, &DeleteParams::default()).await.unwrap_err();
    assert!(error.to_string().contains("admin may not delete releases"), "{error}");
    let approvals: Api<Approval> = Api::namespaced(admin.clone(), HOME);
    let error = approvals.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(error.unwrap_err().to_string().contains("may not delete approvals"));
}

async fn syncs(people: &People) {
    let mine = || sync("tools", "tools-deployer", &json!({}));
    refused::<Sync>(
        &people.pat,
        sync("other", "clinic-dev-app", &json!({})),
        "pat may not use the account clinic-dev-app",
    )
    .await;
    let labelled = sync("other", "tools-deployer", &json!({"tidegate.dev/pipeline": "clinic"}));
    refused::<Sync>(&people.pat, labelled, "only Tidegate writes those").await;
    created::<Sync>(&people.pat, mine()).await.expect("a Sync as an account that pat may use");

    let api: Api<Sync> = Api::namespaced(people.pat.clone(), HOME);
    let parameters = PatchParams::default();
    let merge = |value: Value| Patch::Merge(value);
    let error = api
        .patch("tools", &parameters, &merge(json!({"spec": {"account": "clinic-dev-app"}})))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("may not use the account clinic-dev-app"), "{error}");
    let claim = json!({"metadata": {"labels": {"tidegate.dev/pipeline": "clinic"}}});
    let error = api.patch("tools", &parameters, &merge(claim)).await.unwrap_err();
    assert!(error.to_string().contains("only Tidegate writes those"), "{error}");
    let suspend = json!({"spec": {"suspend": true}, "metadata": {"labels": {"team": "tools"}}});
    api.patch("tools", &parameters, &merge(suspend)).await.expect("pat's own Sync");

    let pipelines =
        sync("clinic-dev-app", "clinic-dev-app", &json!({"tidegate.dev/pipeline": "clinic"}));
    created::<Sync>(&people.engine, pipelines).await.expect("the engine's Sync");
    for change in [
        json!({"spec": {"suspend": true}}),
        json!({"metadata": {"labels": {"tidegate.dev/pipeline": null}}}),
    ] {
        let error = api.patch("clinic-dev-app", &parameters, &merge(change)).await.unwrap_err();
        assert!(error.to_string().contains("only Tidegate writes those"), "{error}");
    }
}

/// A Role in the locked namespace is all that impersonation of its accounts needs.
async fn the_engine_becomes_deployer_accounts_only(lab: &Lab) {
    let engine = lab.service_account_kubeconfig("tidegate-system", "tidegate").unwrap();
    let deployer = "system:serviceaccount:tidegate-deployers:clinic-dev-app";
    let as_deployer = impersonating(&engine, deployer, &[]).await;
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odoo", "namespace": "clinic-dev"}, "data": {"a": "b"},
    });
    let parameters = PatchParams::apply("tidegate").force();
    let target: Api<ConfigMap> = Api::namespaced(as_deployer.clone(), "clinic-dev");
    target
        .patch("odoo", &parameters, &Patch::Apply(&manifest))
        .await
        .expect("applied in its target");
    let elsewhere: Api<ConfigMap> = Api::namespaced(as_deployer, HOME);
    assert!(elsewhere.list(&ListParams::default()).await.is_err(), "rights end at the target");
    for other in ["jane", "system:serviceaccount:kube-system:default"] {
        let client = impersonating(&engine, other, &[]).await;
        let api: Api<ConfigMap> = Api::namespaced(client, "clinic-dev");
        let error = api.list(&ListParams::default()).await.unwrap_err();
        assert!(error.to_string().contains("cannot impersonate"), "as {other}: {error}");
    }
}

async fn a_namespace_can_still_be_deleted(admin: &Client) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.delete(HOME, &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while namespaces.get_opt(HOME).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the namespace with its records is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
