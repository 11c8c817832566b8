//! The people's command line, as people with their own certificates and only shipped roles. The
//! engine does not run here: what it would have written is written with its account, so that each
//! answer of the command line has a known cause.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate_harness::Lab;
use tidegate_manifest::{Set, manifests};
use tidegate_schemas::{Approval, Pipeline, Promotion, Release};

use crate::cluster::{apply, as_person, printed};

const HOME: &str = "clinic";
const CHANGE: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const OTHER: &str = "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
const IMAGE: &str = "registry.example.com/hospital/odoo";
const SETUP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: clinic}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: staff}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: release-managers, namespace: clinic}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-release-manager}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: release-managers}]
---
apiVersion: tidegate.dev/v1alpha1
kind: EnvironmentClass
metadata: {name: production}
spec: {lanes: {app: {gates: {approvals: [{from: [{group: release-managers}], count: 2}]}}}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Pipeline
metadata: {name: clinic, namespace: clinic}
spec:
  source: {repository: environments}
  environments: [production]
  lanes: [{name: app}]
  images: [{repository: registry.example.com/hospital/odoo, follow: {semver: '~17.0'}}]
---
apiVersion: tidegate.dev/v1alpha1
kind: EnvironmentClass
metadata: {name: dev}
spec: {}
";

#[tokio::test]
async fn people_see_decide_and_ask_by_the_command_line() {
    let clinic = Clinic::new().await;
    clinic.refuses_what_moved_or_is_not_allowed();
    clinic.approves().await;
    clinic.shows();
    clinic.asks().await;
    clinic.waits().await;
}

struct Clinic {
    lab: Lab,
    engine: kube::Client,
    /// A release manager.
    jane: PathBuf,
    /// May look.
    vera: PathBuf,
}

impl Clinic {
    async fn new() -> Self {
        let lab = Lab::start_fresh().unwrap();
        let admin = Lab::client(&lab.kubeconfig()).await.unwrap();
        apply(&admin, &printed(&["install"])).await;
        apply(&admin, SETUP).await;
        let url = lab.create_repo("environments", None).unwrap();
        let repository = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Repository\nmetadata: {{name: environments, namespace: clinic}}\nspec: {{url: '{url}'}}\n"
        );
        apply(&admin, &repository).await;
        let engine = lab.service_account_kubeconfig("tidegate-system", "tidegate").unwrap();
        let clinic = Self {
            engine: Lab::client(&engine).await.unwrap(),
            jane: lab.person("jane", &["staff", "release-managers"]).unwrap(),
            vera: lab.person("vera", &["staff"]).unwrap(),
            lab,
        };
        clinic.runs_one_release_and_brings_another().await;
        clinic
    }

    /// What the engine writes for a release that runs and one that waits.
    async fn runs_one_release_and_brings_another(&self) {
        let (old, new) = (content("17.0.1", "a", 1), content("17.0.2", "b", 2));
        let runs = self
            .lab
            .commit(
                "environments",
                "deploy/clinic/production/app",
                &files("manifests", &old),
                "Promote",
            )
            .unwrap();
        for (set, letter) in [(&old, "a"), (&new, "b")] {
            self.keep(set, letter);
            self.release(set, letter).await;
        }
        let held = json!({"release": "clinic-app-a", "manifests": old.digest(), "commit": runs});
        self.promotion("clinic-production-app-1", "clinic-app-a", json!({
            "phase": "Succeeded", "message": "completed its watch", "manifests": old.digest(), "commit": runs,
            "knownGood": true, "endedAt": "2026-01-01T00:00:00Z",
        }))
        .await;
        self.promotion("clinic-production-app-2", "clinic-app-b", json!({
            "phase": "Waiting", "message": "approvals", "manifests": new.digest(), "change": CHANGE, "replaces": held,
            "gates": [{"gate": "approvals", "state": "Waiting", "message": "0 of 2 people of the group release-managers approved"}],
        }))
        .await;
    }

    fn keep(&self, set: &Set, letter: &str) {
        let branch = format!("kept-{letter}");
        let commit =
            self.lab.commit("environments", &branch, &files("production", set), "Keep").unwrap();
        let reference = format!("refs/tidegate/releases/{}", letter.repeat(64));
        let status = Command::new("git")
            .arg("--git-dir")
            .arg(self.lab.git_dir("environments"))
            .args(["update-ref", &reference, &commit])
            .status();
        assert!(status.unwrap().success());
    }

    async fn release(&self, set: &Set, letter: &str) {
        let number = u32::from(letter.as_bytes()[0] - b'a') + 1;
        let release: Release = serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release",
            "metadata": {"name": format!("clinic-app-{letter}"), "namespace": HOME},
            "spec": {"pipeline": "clinic", "lane": "app", "id": digest(letter), "sequence": number,
                     "source": {"commit": "1".repeat(40), "author": "Joe Doe <joe@hospital.example>", "title": "Use more", "time": "2026-01-01T00:00:00Z"},
                     "images": [{"repository": IMAGE, "tag": format!("17.0.{number}"), "digest": digest(letter), "verdict": {"passed": true}}],
                     "rendered": {"production": {"manifests": set.digest(), "objects": 2}}},
        }))
        .unwrap();
        let api: Api<Release> = Api::namespaced(self.engine.clone(), HOME);
        api.create(&PostParams::default(), &release).await.unwrap();
    }

    async fn promotion(&self, name: &str, release: &str, status: Value) {
        let promotion: Promotion = serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Promotion", "metadata": {"name": name, "namespace": HOME},
            "spec": {"pipeline": "clinic", "environment": "production", "lane": "app", "release": release},
        }))
        .unwrap();
        let api: Api<Promotion> = Api::namespaced(self.engine.clone(), HOME);
        api.create(&PostParams::default(), &promotion).await.unwrap();
        self.write_status(name, status).await;
    }

    async fn write_status(&self, name: &str, status: Value) {
        let api: Api<Promotion> = Api::namespaced(self.engine.clone(), HOME);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    fn refuses_what_moved_or_is_not_allowed(&self) {
        let waits = "clinic-production-app-2";
        let says = |who: &Path, arguments: &[&str], words: &str| {
            let (code, _, error) = person(who, arguments);
            assert_eq!(code, 1, "{arguments:?}: {error}");
            assert!(error.contains(words), "{arguments:?} says {error:?} and not {words:?}");
        };
        says(
            &self.jane,
            &["approve", waits, "--change", OTHER],
            "has moved: you looked at sha256:eeee",
        );
        says(
            &self.jane,
            &["approve", "clinic-production-app-1"],
            "does not wait for anybody any more",
        );
        says(
            &self.jane,
            &["approve", "nothing"],
            "there is no Promotion nothing in the namespace clinic",
        );
        says(&self.vera, &["approve", waits], "cannot create resource");
        says(
            &self.vera,
            &["promote", "clinic-app-b", "--env", "production"],
            "cannot create resource",
        );
        says(&self.jane, &["promote", "clinic-app-b", "--env", "dev"], "has no content for dev");
        assert_eq!(person(&self.jane, &["reject", waits]).0, 2, "a rejection without a reason");
    }

    async fn approves(&self) {
        let arguments =
            ["approve", "clinic-production-app-2", "--reason", "reviewed", "--change", CHANGE];
        let (code, shown, error) = person(&self.jane, &arguments);
        assert_eq!(code, 0, "{error}");
        assert!(
            shown.contains("17.0.1 (sha256:aaaaaaaaaa) -> 17.0.2 (sha256:bbbbbbbbbb)"),
            "{shown}"
        );
        assert!(shown.contains(CHANGE) && shown.contains("approved as jane"), "{shown}");
        let api: Api<Approval> = Api::namespaced(self.engine.clone(), HOME);
        let made = api.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(made.len(), 1, "{made:?}");
        let spec = &made[0].spec;
        assert_eq!((spec.user.as_str(), spec.reason.as_deref()), ("jane", Some("reviewed")));
        assert_eq!(spec.groups, ["release-managers"], "only the group that the rule names");
        assert_eq!(spec.change.to_string(), CHANGE);
    }

    fn shows(&self) {
        let (code, board, error) = person(&self.vera, &["get"]);
        assert_eq!(code, 0, "{error}");
        assert!(board.contains("Waiting for approvals: 0 of 2 people"), "{board}");
        assert!(!board.contains('\x1b'), "no colours in a pipe");
        let (_, names, _) = person(&self.vera, &["get", "promotions", "-o", "name"]);
        assert_eq!(
            names,
            "promotion.tidegate.dev/clinic-production-app-1\npromotion.tidegate.dev/clinic-production-app-2\n"
        );
        let (_, json, _) = person(&self.vera, &["get", "release", "clinic-app-b", "-o", "json"]);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["spec"]["sequence"], 2);
        for (kind, words) in [
            ("promotion/clinic-production-app-2", "waiting  approvals: 0 of 2 people"),
            ("release/clinic-app-b", "by Joe Doe <joe@hospital.example>: Use more"),
            ("pipeline/clinic", "approvals: approval: 2 of group release-managers"),
            ("repository/environments", "Tidegate has not looked at it yet"),
        ] {
            let (code, told, error) = person(&self.vera, &["explain", kind]);
            assert_eq!(code, 0, "{error}");
            assert!(told.contains(words), "explain {kind}: {told}");
        }
        let (code, diff, error) = person(&self.vera, &["diff", "clinic-production-app-2"]);
        assert_eq!(code, 0, "{error}");
        let summary =
            "1 created: Service odoo-2\n1 changed: ConfigMap odoo\n1 deleted: Service odoo-1\n";
        assert!(diff.contains(summary), "{diff}");
        assert!(
            diff.contains("-  version: \"17.0.1\"\n") && diff.contains("+  version: \"17.0.2\"\n"),
            "{diff}"
        );
    }

    async fn asks(&self) {
        let (code, said, error) = person(
            &self.jane,
            &["promote", "clinic-app-a", "--env", "production", "--reason", "again"],
        );
        assert_eq!(code, 0, "{error}");
        assert!(said.contains("clinic-production-app-3 created"), "{said}");
        let rollback =
            ["rollback", "clinic", "--env", "production", "--lane", "app", "--reason", "bad"];
        let (code, _, error) = person(&self.jane, &rollback);
        assert_eq!(code, 1);
        assert!(error.contains("nothing else is known good in production"), "{error}");
        let to: Vec<&str> = rollback.into_iter().chain(["--to", "clinic-app-b"]).collect();
        let (code, _, error) = person(&self.jane, &to);
        assert_eq!(code, 0, "{error}");
        let api: Api<Promotion> = Api::namespaced(self.engine.clone(), HOME);
        let made = api.get("clinic-production-app-4").await.unwrap();
        assert_eq!(made.spec.requested_by.as_deref(), Some("jane"));
        assert_eq!(made.spec.release, "clinic-app-b");
        for name in ["clinic-production-app-3", "clinic-production-app-4"] {
            self.write_status(name, json!({"phase": "Superseded", "message": "the test goes on"}))
                .await;
        }
    }

    async fn waits(&self) {
        let image = |letter: &str| format!("{IMAGE}@{}", digest(letter));
        let (new, old) = (image("b"), image("a"));
        let wait = |image: &str, more: &[&str]| {
            let arguments: Vec<&str> = ["wait", image, "--env", "production"]
                .into_iter()
                .chain(more.iter().copied())
                .collect();
            person(&self.vera, &arguments)
        };
        let (code, said, _) = wait(&old, &[]);
        assert_eq!(code, 0);
        assert!(said.contains("Succeeded"), "{said}");
        let (code, _, error) = wait(&new, &["--fail-on-approval"]);
        assert_eq!(code, 5, "{error}");
        let (code, _, error) = wait(&new, &["--timeout", "1s"]);
        assert_eq!(code, 6, "{error}");
        assert!(
            error.contains("it waited for: clinic-production-app-2: Waiting for approvals"),
            "{error}"
        );
        let (code, _, error) = wait("odoo:17", &[]);
        assert_eq!(code, 2, "{error}");

        let api: Api<Pipeline> = Api::namespaced(self.engine.clone(), HOME);
        let refused = json!({"status": {"refused": [{"lane": "app", "commit": "1".repeat(40), "image": image("c"),
            "reasons": ["no signature was found"], "at": "2026-01-01T00:00:00Z"}]}});
        api.patch_status("clinic", &PatchParams::default(), &Patch::Merge(refused)).await.unwrap();
        let (code, _, error) = wait(&image("c"), &[]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("no signature was found"), "{error}");

        // A wait that is under way learns of the end by its watch.
        let (jane, waiting) = (self.vera.clone(), new.clone());
        let under_way = tokio::task::spawn_blocking(move || {
            person(&jane, &["wait", &waiting, "--env", "production", "--timeout", "60s"])
        });
        self.write_status(
            "clinic-production-app-2",
            json!({"phase": "Regressed", "message": "crash loop"}),
        )
        .await;
        let (code, _, error) = under_way.await.unwrap();
        assert_eq!(code, 7, "{error}");
    }
}

fn person(kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
    let in_clinic: Vec<&str> = ["-n", HOME].into_iter().chain(arguments.iter().copied()).collect();
    as_person(kubeconfig, &in_clinic)
}

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

fn content(version: &str, letter: &str, number: u32) -> Set {
    let yaml = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odoo}}\ndata: {{version: {version}, image: {letter}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: odoo-{number}}}\n"
    );
    Set::from_manifests(manifests(yaml.as_bytes(), "test").unwrap()).unwrap()
}

fn files(folder: &str, set: &Set) -> Vec<(&'static str, Option<&'static str>)> {
    let named: BTreeMap<String, Vec<u8>> = set.to_files();
    named
        .into_iter()
        .map(|(name, bytes)| {
            let path: &'static str = Box::leak(format!("{folder}/{name}").into_boxed_str());
            let text: &'static str = Box::leak(String::from_utf8(bytes).unwrap().into_boxed_str());
            (path, Some(text))
        })
        .collect()
}
