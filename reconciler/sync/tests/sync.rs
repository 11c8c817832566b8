//! Syncs against a real control plane and a real Git server.
//!
//! Each case has its own namespace, which the reconciler under test is limited to, an own target and
//! an own repository, so that cases run side by side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_cluster::Cluster;
use tidegate_harness::{Lab, eventually};
use tidegate_ids::CommitId;
use tidegate_render::Renderer;
use tidegate_schemas::{
    Cause, DriftForm, Health, Repository, Sync, SyncStatus, condition as find_condition,
};
use tidegate_source::{
    Credentials, Limits, Mirrors, NewCommit, Person, SigningKey, Tree, with_trailers,
};
use tidegate_sync::{Options, SourceOptions, Sources};
use tokio::sync::{OnceCell, RwLock};
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(30);

/// Held for reading by everybody who needs the Git server, for writing by who stops it.
static GIT: RwLock<()> = RwLock::const_new(());

/// One case: its namespaces, its repository and a reconciler of its own.
struct World {
    lab: &'static Lab,
    client: Client,
    name: &'static str,
    work: TempDir,
    tasks: JoinSet<()>,
    sources: Option<Sources>,
}

impl World {
    async fn new(name: &'static str) -> Self {
        let lab = tokio::task::spawn_blocking(|| Lab::attach_or_start().unwrap()).await.unwrap();
        kinds(lab).await;
        let client = Lab::client(&lab.kubeconfig()).await.unwrap();
        let world = Self {
            lab,
            client,
            name,
            work: TempDir::new().unwrap(),
            tasks: JoinSet::new(),
            sources: None,
        };
        let target = world.target();
        lab.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tidegate-deployers"}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "tidegate-deployers"}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "deployer", "namespace": target},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "tidegate-deployers"}]}),
        ])
        .unwrap();
        lab.create_repo(name, None).unwrap();
        world
    }

    fn target(&self) -> String {
        format!("{}-target", self.name)
    }

    /// Starts the reconciler, or starts it anew.
    async fn start(&mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let cluster = Cluster::infer(Some(&self.lab.kubeconfig())).await.unwrap();
        let scope = vec![self.name.to_owned()];
        let options = SourceOptions {
            folder: self.work.path().join("mirrors"),
            limits: Limits::default(),
            scope: scope.clone(),
            min_interval: Duration::from_secs(1),
        };
        let sources = Sources::new(cluster.clone(), options).unwrap();
        let renderer = Renderer::new(self.lab.worker().to_owned(), 2).allow_unconfined();
        let options = Options {
            looked: tidegate_sync::Looked::default(),
            cluster,
            sources: sources.clone(),
            renderer: Arc::new(renderer),
            scope,
            concurrency: 8,
        };
        self.sources = Some(sources.clone());
        self.tasks.spawn(async move { sources.run().await });
        self.tasks.spawn(async move { tidegate_sync::run(options).await.unwrap() });
    }

    fn push(&self, files: &[(&str, Option<&str>)]) -> CommitId {
        self.lab.commit(self.name, "main", files, "change").unwrap().parse().unwrap()
    }

    fn repository(&self) {
        self.lab
            .apply(&[json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Repository",
                "metadata": {"name": "repo", "namespace": self.name},
                "spec": {"url": self.lab.git_url(self.name), "interval": "1s"}})])
            .unwrap();
    }

    /// A Sync of the folder `app` with more in its spec.
    fn sync(&self, more: &Value) {
        let mut spec = json!({"source": {"repository": "repo", "path": "app"},
            "target": {"namespace": self.target()}, "account": self.name});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.lab
            .apply(&[json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Sync",
                "metadata": {"name": "app", "namespace": self.name}, "spec": spec})])
            .unwrap();
    }

    async fn status(&self) -> SyncStatus {
        let api = Api::<Sync>::namespaced(self.client.clone(), self.name);
        api.get("app").await.unwrap().status.unwrap_or_default()
    }

    /// Waits until the status is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&SyncStatus) -> bool) -> SyncStatus {
        let asked = async || Some(self.status().await).filter(|status| wanted(status));
        match eventually(what, SOON, asked).await {
            Ok(status) => status,
            Err(error) => {
                let status = serde_json::to_string_pretty(&self.status().await).unwrap();
                panic!("{error}; the status is {status}")
            }
        }
    }

    async fn until_applied(&self, commit: &CommitId) -> SyncStatus {
        self.until("the commit to be applied and healthy", |status| {
            status.applied.as_ref().is_some_and(|a| a.commit == *commit) && ready(status) == "True"
        })
        .await
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.target())
    }

    /// The value that a ConfigMap has under `key`; none where it is not there.
    async fn value(&self, name: &str) -> Option<String> {
        self.maps().get_opt(name).await.unwrap()?.data?.remove("key")
    }
}

async fn kinds(lab: &'static Lab) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let crds: Vec<Value> = tidegate_schemas::crds()
                .iter()
                .map(|crd| serde_json::to_value(crd).unwrap())
                .collect();
            lab.apply(&crds).unwrap();
            let client = Lab::client(&lab.kubeconfig()).await.unwrap();
            let served = async || {
                let syncs = Api::<Sync>::all(client.clone()).list(&ListParams::default()).await;
                let repositories =
                    Api::<Repository>::all(client.clone()).list(&ListParams::default()).await;
                (syncs.is_ok() && repositories.is_ok()).then_some(())
            };
            eventually("the kinds to be served", SOON, served).await.unwrap();
        })
        .await;
}

fn condition(status: &SyncStatus, kind: &str) -> (String, String, String) {
    find_condition(&status.conditions, kind)
        .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
        .unwrap_or_default()
}

fn ready(status: &SyncStatus) -> String {
    condition(status, "Ready").0
}

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: \"{value}\"}}\n"
    )
}

fn deployment(image: &str, labels: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web{labels}}}}}\n    \
         spec: {{containers: [{{name: web, image: {image}}}]}}\n"
    )
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                       spec: {selector: {app: web}, ports: [{port: 80}]}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_manifests_is_applied_changed_and_pruned() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-plain").await;
    let first =
        world.push(&[("app/a.yaml", Some(&map("a", "1"))), ("app/b.yaml", Some(&map("b", "1")))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    let status = world.until_applied(&first).await;
    assert_eq!(status.applied.unwrap().objects, 2);
    assert_eq!(world.value("a").await.as_deref(), Some("1"));

    let second = world.push(&[
        ("app/a.yaml", Some(&map("a", "2"))),
        ("app/b.yaml", None),
        ("app/c.yaml", Some(&map("c", "1"))),
    ]);
    world.until_applied(&second).await;
    assert_eq!(world.value("a").await.as_deref(), Some("2"));
    assert_eq!(world.value("b").await, None, "what left Git is pruned");
    assert_eq!(world.value("c").await.as_deref(), Some("1"));

    let version = |map: ConfigMap| map.metadata.resource_version;
    let before = version(world.maps().get("a").await.unwrap());
    let elsewhere = world.push(&[("README.md", Some("nothing of the folder"))]);
    world.until_applied(&elsewhere).await;
    assert_eq!(version(world.maps().get("a").await.unwrap()), before);

    let api = Api::<Repository>::namespaced(world.client.clone(), world.name);
    let repository = api.get("repo").await.unwrap().status.unwrap();
    assert_eq!(repository.heads["main"], elsewhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_built_and_its_bases_count() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-kustomize").await;
    let first = world.push(&[
        ("base/map.yaml", Some(&map("a", "1"))),
        ("base/kustomization.yaml", Some("resources: [map.yaml]\n")),
        ("app/kustomization.yaml", Some("resources: [../base]\nnamePrefix: dev-\n")),
    ]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&first).await;
    assert_eq!(world.value("dev-a").await.as_deref(), Some("1"));
    let second = world.push(&[("base/map.yaml", Some(&map("a", "2")))]);
    world.until_applied(&second).await;
    assert_eq!(world.value("dev-a").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_change_or_delete_is_restored_with_a_record() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-drift").await;
    let commit = world.push(&[
        ("app/web.yaml", Some(&deployment("registry.example.com/web:1", ""))),
        ("app/service.yaml", Some(SERVICE)),
    ]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&commit).await;

    let deployments = Api::<Deployment>::namespaced(world.client.clone(), &world.target());
    let edit =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "evil"}]}}}});
    let params =
        PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    deployments.patch("web", &params, &Patch::Strategic(edit)).await.unwrap();
    let status = world.until("the edit to be recorded", |s| !s.drift.is_empty()).await;
    let record = &status.drift[0];
    assert_eq!((record.form, record.corrected), (DriftForm::Changed, true));
    assert_eq!(record.fields, ["/spec/template/spec/containers/0/image"]);
    assert_eq!(record.manager.as_deref(), Some("kubectl-edit"));
    let image = deployments.get("web").await.unwrap().spec.unwrap().template.spec.unwrap();
    assert_eq!(image.containers[0].image.as_deref(), Some("registry.example.com/web:1"));

    let services = Api::<k8s_openapi::api::core::v1::Service>::namespaced(
        world.client.clone(),
        &world.target(),
    );
    services.delete("web", &DeleteParams::default()).await.unwrap();
    let status = world.until("the deletion to be recorded", |s| s.drift.len() > 1).await;
    let record = &status.drift[1];
    assert_eq!((record.form, record.manager.as_deref()), (DriftForm::Missing, None));
    assert!(record.message.contains("author is unknown"), "{}", record.message);
    assert!(services.get_opt("web").await.unwrap().is_some());
    let status = world.until_applied(&commit).await;
    assert_eq!(status.drift.len(), 2, "{:?}", status.drift);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_while_the_engine_was_down_is_recorded_after_its_restart() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-restart").await;
    let commit =
        world.push(&[("app/a.yaml", Some(&map("a", "1"))), ("app/b.yaml", Some(&map("b", "1")))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    let applied = world.until_applied(&commit).await.applied;
    world.tasks.abort_all();
    while world.tasks.join_next().await.is_some() {}
    world
        .maps()
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "9"}})))
        .await
        .unwrap();
    world.start().await;
    let status = world.until("the change to be recorded", |s| !s.drift.is_empty()).await;
    assert_eq!(status.drift[0].fields, ["/data/key"]);
    assert_eq!(world.value("a").await.as_deref(), Some("1"));
    let status = world.until_applied(&commit).await;
    assert_eq!((status.applied, status.drift.len()), (applied, 1), "nothing else was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_a_missing_branch_and_broken_yaml_change_nothing() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-guards").await;
    let good = world.push(&[("app/a.yaml", Some(&map("a", "1")))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&good).await;

    let broken = world.push(&[("app/a.yaml", Some("kind: [ConfigMap\n"))]);
    let status = world.until("broken YAML to be told", |s| s.failure.is_some()).await;
    let failure = status.failure.unwrap();
    assert_eq!((failure.cause, failure.commit), (Cause::Content, broken));
    assert!(failure.message.contains("a.yaml"), "{}", failure.message);

    world.push(&[("app/a.yaml", None), ("app/notes.txt", Some("no objects"))]);
    world.until("the empty folder to be told", |s| condition(s, "Ready").1 == "EmptyFolder").await;
    assert_eq!(world.value("a").await.as_deref(), Some("1"));

    let good = world.push(&[("app/a.yaml", Some(&map("a", "2")))]);
    let status = world.until_applied(&good).await;
    assert_eq!(condition(&status, "Stalled").0, "False");
    assert_eq!(status.failure, None);

    world.sync(&json!({"source": {"repository": "repo", "path": "app", "branch": "nowhere"}}));
    let status = world
        .until("the missing branch to be told", |s| condition(s, "Ready").1 == "BranchMissing")
        .await;
    assert_eq!(condition(&status, "Stalled").0, "True");
    assert!(condition(&status, "Ready").2.contains("main"), "it names the branches there are");
    assert_eq!(world.value("a").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_namespaces_that_a_sync_may_not_hold_are_refused() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-kinds").await;
    world.push(&[("app/a.yaml", Some(&map("a", "1"))), ("app/s.yaml", Some(SERVICE))]);
    world.repository();
    world.sync(&json!({"kinds": ["ConfigMap"]}));
    world.start().await;
    let status = world.until("the kind to be refused", |s| s.failure.is_some()).await;
    assert_eq!(condition(&status, "Ready").1, "KindNotAllowed");
    assert_eq!(world.value("a").await, None);
    let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n";
    world.push(&[("app/s.yaml", Some(elsewhere))]);
    world
        .until("the namespace to be refused", |s| condition(s, "Ready").1 == "ManifestInvalid")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_fail_make_the_sync_fail_as_a_workload() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-health").await;
    let fails = r#", pod-container-running-failed.stage.kwok.x-k8s.io: "true""#;
    let good = world.push(&[("app/web.yaml", Some(&deployment("registry.example.com/web:1", "")))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    let status = world.until_applied(&good).await;
    assert_eq!(status.health.unwrap().state, Health::Healthy);
    let bad =
        world.push(&[("app/web.yaml", Some(&deployment("registry.example.com/web:2", fails)))]);
    let status = world
        .until("the failing pods to be told", |s| {
            s.failure.as_ref().is_some_and(|f| f.commit == bad)
        })
        .await;
    assert_eq!(status.failure.unwrap().cause, Cause::Workload);
    assert_eq!(status.health.unwrap().state, Health::Failed);
    let good = world.push(&[("app/web.yaml", Some(&deployment("registry.example.com/web:1", "")))]);
    let status = world.until_applied(&good).await;
    assert_eq!(status.failure, None);
}

/// A deploy branch and the key that its commits are signed with.
struct Branch {
    mirror: Arc<tidegate_source::Mirror>,
    _mirrors: Mirrors,
    head: Option<CommitId>,
}

impl Branch {
    fn new(world: &World) -> Self {
        let mirrors = Mirrors::new(world.work.path().join("people"), Limits::default()).unwrap();
        let mirror = mirrors.mirror(&world.lab.git_url(world.name), Credentials::none()).unwrap();
        Self { mirror, _mirrors: mirrors, head: None }
    }

    /// Signs a commit on top of `parent` and makes it the branch's head.
    async fn push(
        &mut self,
        key: &SigningKey,
        parent: Option<&CommitId>,
        trailers: &[(&str, &str)],
        value: &str,
    ) -> CommitId {
        self.mirror.fetch(SOON).await.unwrap();
        let files = BTreeMap::from([("app/a.yaml".to_owned(), map("a", value).into_bytes())]);
        let new = NewCommit {
            parent: parent.cloned(),
            tree: Tree::Files(files),
            message: with_trailers("deploy", trailers.iter().copied()),
            author: Person { name: "Tidegate".into(), email: "t@example.org".into() },
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
            key: key.clone(),
        };
        let commit = self.mirror.commit(new).await.unwrap();
        self.set(&commit).await;
        commit
    }

    /// Moves the branch, backwards too.
    async fn set(&mut self, commit: &CommitId) {
        self.mirror.push("refs/heads/deploy", commit, self.head.as_ref()).await.unwrap();
        self.head = Some(commit.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_prove_what_is_asked_is_refused_and_nothing_changes() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-verify").await;
    let (ours, theirs) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let mut branch = Branch::new(&world);
    let first = branch
        .push(&ours, None, &[("Tidegate-Lane", "app"), ("Tidegate-Sequence", "1")], "1")
        .await;
    world.repository();
    world.sync(&json!({
        "source": {"repository": "repo", "path": "app", "branch": "deploy"},
        "verify": {"keys": [ours.public().to_string()], "trailers": {"Tidegate-Lane": "app"},
            "sequence": "Tidegate-Sequence", "notAfter": "Tidegate-Not-After"}}));
    world.start().await;
    let status = world.until("a head without a time to be refused", |s| s.refused.is_some()).await;
    assert!(status.refused.unwrap().reason.contains("Tidegate-Not-After"));
    assert_eq!(status.accepted, None);

    let lane = ("Tidegate-Lane", "app");
    let until = ("Tidegate-Not-After", "2099-01-01T00:00:00Z");
    let second =
        branch.push(&ours, Some(&first), &[lane, ("Tidegate-Sequence", "2"), until], "2").await;
    let third =
        branch.push(&ours, Some(&second), &[lane, ("Tidegate-Sequence", "3"), until], "3").await;
    let status = world.until_applied(&third).await;
    assert_eq!(condition(&status, "Verified").0, "True");
    assert_eq!(status.accepted.unwrap().sequence, Some(3));

    let refused = async |commit: &CommitId, words: &str| {
        let what = format!("a head to be refused because: {words}");
        let status =
            world.until(&what, |s| s.refused.as_ref().is_some_and(|r| r.commit == *commit)).await;
        assert!(status.refused.as_ref().unwrap().reason.contains(words), "{:?}", status.refused);
        assert_eq!(condition(&status, "Verified").0, "False");
        assert_eq!(status.accepted.unwrap().commit, third);
        assert_eq!(world.value("a").await.as_deref(), Some("3"));
    };
    branch.set(&second).await;
    refused(&second, "does not descend").await;
    let other_key =
        branch.push(&theirs, Some(&third), &[lane, ("Tidegate-Sequence", "4"), until], "4").await;
    refused(&other_key, "not among the allowed keys").await;
    let replayed =
        branch.push(&ours, Some(&third), &[lane, ("Tidegate-Sequence", "3"), until], "5").await;
    refused(&replayed, "an old commit was pushed again").await;
    let elsewhere = branch
        .push(
            &ours,
            Some(&third),
            &[("Tidegate-Lane", "infra"), ("Tidegate-Sequence", "4"), until],
            "6",
        )
        .await;
    refused(&elsewhere, "must be \"app\"").await;
    let passed = ("Tidegate-Not-After", "2020-01-01T00:00:00Z");
    let belated =
        branch.push(&ours, Some(&third), &[lane, ("Tidegate-Sequence", "4"), passed], "7").await;
    refused(&belated, "too old").await;
    let unsigned: CommitId = {
        let files = [("app/a.yaml", Some(map("a", "8")))];
        let files: Vec<_> = files.iter().map(|(p, c)| (*p, c.as_deref())).collect();
        world.lab.commit(world.name, "deploy", &files, "unsigned").unwrap().parse().unwrap()
    };
    refused(&unsigned, "is not signed").await;

    branch.head = Some(unsigned);
    let next =
        branch.push(&ours, Some(&third), &[lane, ("Tidegate-Sequence", "4"), until], "9").await;
    let status = world.until_applied(&next).await;
    assert_eq!((status.refused, world.value("a").await.as_deref()), (None, Some("9")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_waits_for_the_kinds_that_the_one_before_defines() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-stages").await;
    world
        .lab
        .apply(&[json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "sync-stages"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "sync-stages", "namespace": "tidegate-deployers"}]})])
        .unwrap();
    let ward =
        "apiVersion: clinic.example/v1\nkind: Ward\nmetadata: {name: one}\nspec: {beds: 3}\n";
    let first = world.push(&[("app/kind.yaml", Some(WARD)), ("app/ward.yaml", Some(ward))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&first).await;

    let second = world.push(&[
        ("app/kind.yaml", None),
        ("app/ward.yaml", None),
        ("app/a.yaml", Some(&map("a", "1"))),
    ]);
    let status = world
        .until("the definition to be kept", |s| condition(s, "Ready").1 == "PruneBlocked")
        .await;
    assert!(condition(&status, "Ready").2.contains("wards.clinic.example"));
    assert_eq!(status.applied.unwrap().commit, second);
    world.sync(&json!({"prune": {"allow": ["CustomResourceDefinition.apiextensions.k8s.io"]}}));
    world.until_applied(&second).await;
}

const WARD: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: wards.clinic.example}
spec:
  group: clinic.example
  scope: Namespaced
  names: {kind: Ward, plural: wards}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {beds: {type: integer}}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_only_reports_drift_leaves_it() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-report").await;
    let commit =
        world.push(&[("app/a.yaml", Some(&map("a", "1"))), ("app/b.yaml", Some(&map("b", "1")))]);
    world.repository();
    world.sync(&json!({"drift": "Report"}));
    world.start().await;
    world.until_applied(&commit).await;
    let edit = Patch::Merge(json!({"data": {"key": "9"}}));
    world.maps().patch("a", &PatchParams::default(), &edit).await.unwrap();
    let status = world.until("the change to be recorded", |s| !s.drift.is_empty()).await;
    assert!(!status.drift[0].corrected);
    let commit = world.push(&[("app/b.yaml", Some(&map("b", "2")))]);
    world.until_applied(&commit).await;
    assert_eq!(world.value("a").await.as_deref(), Some("9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_wrong_credentials_says_so_and_others_go_on() {
    let _git = GIT.read().await;
    let mut world = World::new("sync-secrets").await;
    world.lab.create_repo("sync-secrets-locked", Some(("deploy", "right"))).unwrap();
    let commit = world.push(&[("app/a.yaml", Some(&map("a", "1")))]);
    let (lab, namespace) = (world.lab, world.name);
    let password = |text: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git", "namespace": namespace},
            "stringData": {"username": "deploy", "password": text, "token": "hook-secret"}});
        lab.apply(&[secret]).unwrap();
    };
    password("mistaken");
    lab.apply(&[json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Repository",
        "metadata": {"name": "locked", "namespace": namespace},
        "spec": {"url": lab.git_url("sync-secrets-locked"), "credentials": {"secret": "git"}, "webhook": {"secret": "git"}}})])
        .unwrap();
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&commit).await;
    let api = Api::<Repository>::namespaced(world.client.clone(), world.name);
    let locked = async |wanted: &str| {
        let asked = async || {
            let status = api.get("locked").await.unwrap().status?;
            let ready =
                find_condition(&status.conditions, "Ready").filter(|c| c.reason == wanted)?;
            Some((ready.message.clone(), status.hook.clone()))
        };
        eventually("the locked Repository to tell of its credentials", SOON, asked).await.unwrap()
    };
    let (message, hook) = locked("CredentialsRefused").await;
    assert!(message.contains("Secret") && !message.contains("mistaken"), "{message}");
    assert_eq!(hook, None);
    password("right");
    let (_, hook) = locked("Fetched").await;
    let hook = hook.unwrap();
    assert!(hook.starts_with("/hooks/") && !hook.contains("hook-secret"), "{hook}");
    let found = world.sources.as_ref().unwrap().hook(hook.trim_start_matches("/hooks/")).unwrap();
    assert_eq!((found.0.name.as_str(), found.1.as_str()), ("locked", "hook-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_server_that_is_down_changes_nothing_and_is_told() {
    let _git = GIT.write().await;
    let mut world = World::new("sync-outage").await;
    let commit = world.push(&[("app/a.yaml", Some(&map("a", "1")))]);
    world.repository();
    world.sync(&json!({}));
    world.start().await;
    world.until_applied(&commit).await;
    let api = Api::<Repository>::namespaced(world.client.clone(), world.name);
    let repository = async |wanted: &str| {
        let asked = async || {
            let status = api.get("repo").await.unwrap().status?;
            find_condition(&status.conditions, "Ready").filter(|c| c.status == wanted).cloned()
        };
        eventually("the Repository to tell of the server", SOON, asked).await.unwrap()
    };
    world.lab.stop_git().unwrap();
    let told = repository("False").await;
    assert_eq!(told.reason, "Unreachable", "{}", told.message);
    world.maps().delete("a", &DeleteParams::default()).await.unwrap();
    world.until("drift to be corrected without Git", |s| !s.drift.is_empty()).await;
    assert_eq!(ready(&world.status().await), "True");
    world.lab.start_git().unwrap();
    let commit = world.push(&[("app/a.yaml", Some(&map("a", "2")))]);
    world.until_applied(&commit).await;
    repository("True").await;
}
