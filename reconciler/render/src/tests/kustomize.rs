use serde_json::json;

use super::{config_map, names, refusal, render, render_as};
use crate::{Fault, FaultKind, Kind};

const OVERLAY: &str =
    "resources:\n- ../../bases/app\nnamePrefix: prod-\nimages:\n- name: odoo\n  newTag: \"19\"\n";
const BASE: &str = "resources:\n- deployment.yaml\nconfigMapGenerator:\n- name: settings\n  files:\n  - app.conf\n";
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - {name: odoo, image: odoo:18}
";

fn environment() -> Vec<(&'static str, &'static str)> {
    vec![
        ("environments/prod/kustomization.yaml", OVERLAY),
        ("environments/prod/unused.yaml", "not read"),
        ("bases/app/kustomization.yml", BASE),
        ("bases/app/deployment.yaml", DEPLOYMENT),
        ("bases/app/app.conf", "workers = 4\n"),
    ]
}

#[tokio::test]
async fn an_overlay_renders_with_a_base_elsewhere_in_the_repository() {
    let rendered = render(&environment(), "./environments/prod/").await.unwrap();
    let settings = names(&rendered)[0].clone();
    assert!(settings.starts_with("ConfigMap prod-settings-"), "{settings}");
    assert_eq!(names(&rendered)[1], "Deployment prod-web");
    assert_eq!(
        rendered.objects[1]["spec"]["template"]["spec"]["containers"][0]["image"],
        "odoo:19"
    );
    assert_eq!(rendered.objects[0]["data"], json!({"app.conf": "workers = 4\n"}));
}

#[tokio::test]
async fn the_closure_holds_what_was_read_and_what_was_looked_for() {
    let closure = render(&environment(), "environments/prod").await.unwrap().closure;
    let read: Vec<_> = closure.files.iter().map(String::as_str).collect();
    assert_eq!(
        read,
        [
            "bases/app/app.conf",
            "bases/app/deployment.yaml",
            "bases/app/kustomization.yml",
            "environments/prod/kustomization.yaml",
        ]
    );
    for missing in ["bases/app/kustomization.yaml", "environments/prod/Kustomization"] {
        assert!(closure.missing.contains(missing), "{missing} in {closure:?}");
    }
    assert!(closure.listed.is_empty(), "kustomize lists no folder: {closure:?}");
}

#[tokio::test]
async fn the_same_input_gives_the_same_output() {
    let first = render(&environment(), "environments/prod").await.unwrap();
    let second = render(&environment(), "environments/prod").await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_root_of_a_repository_renders() {
    let map = config_map("a");
    let files = [("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &map)];
    for root in ["", ".", "/"] {
        assert_eq!(names(&render(&files, root).await.unwrap()), ["ConfigMap a"]);
    }
}

#[tokio::test]
async fn what_is_outside_the_repository_is_refused_by_file_line_and_entry() {
    use FaultKind::{Escape, NotFound, Remote};
    let cases = [
        ("../../etc", Escape, "outside the repository"),
        ("../../../repository/app/a.yaml", Escape, "outside the repository"),
        ("/etc/passwd", Escape, "relative to the kustomization file"),
        ("https://github.com/org/repo?ref=v1", Remote, "is remote"),
        ("git@github.com:org/repo", Remote, "is remote"),
        ("github.com/org/repo", Remote, "is remote"),
        ("ssh://git@host/org/repo.git", Remote, "is remote"),
        ("../bases/none", NotFound, "the repository has no bases/none"),
    ];
    let map = config_map("a");
    for (entry, kind, words) in cases {
        let kustomization = format!("resources:\n- a.yaml\n- {entry}\n");
        let files = [("app/kustomization.yaml", kustomization.as_str()), ("app/a.yaml", &map)];
        let fault = refusal(&files, "app").await;
        assert_eq!((fault.kind, fault.line), (kind, Some(3)), "{entry}: {fault}");
        assert_eq!(fault.file.as_deref(), Some("app/kustomization.yaml"), "{entry}");
        assert!(fault.message.contains(words), "{entry}: {fault}");
    }
}

#[tokio::test]
async fn a_transformer_reads_no_further_than_a_kustomization() {
    let cases = [
        ("../../../etc/patch.yaml", "outside the repository"),
        ("https://someone:token@host/patch.yaml", "is remote"),
    ];
    let map = config_map("a");
    for (path, words) in cases {
        let transformer = format!(
            "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {{name: p}}\npath: {path}\n"
        );
        let files = [
            ("app/kustomization.yaml", "resources: [a.yaml]\ntransformers: [t.yaml]\n"),
            ("app/a.yaml", &map),
            ("app/t.yaml", &transformer),
        ];
        let fault = refusal(&files, "app").await;
        assert!(fault.message.contains(words), "{fault}");
        assert!(!fault.message.contains("token"), "{fault}");
    }
}

#[tokio::test]
async fn helm_charts_and_plugins_are_refused_by_name() {
    let plugin = "apiVersion: example.com/v1\nkind: Generator\nmetadata:\n  name: g\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n";
    let map = config_map("a");
    for (field, words) in [
        ("helmCharts:\n- name: odoo\n", "helmCharts is not rendered"),
        ("generators: [plugin.yaml]\n", "external plugins disabled"),
    ] {
        let kustomization = format!("resources: [a.yaml]\n{field}");
        let files = [
            ("app/kustomization.yaml", kustomization.as_str()),
            ("app/a.yaml", &map),
            ("app/plugin.yaml", plugin),
        ];
        let fault = refusal(&files, "app").await;
        assert!(fault.message.contains(words), "{fault}");
        assert_eq!(fault.file.as_deref(), Some("app/kustomization.yaml"));
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_listed_file_names_that_file_and_line() {
    let first = config_map("a");
    let cases = [
        (format!("{first}---\n{}data:\n  x: [1\n  y: 2\n", config_map("b")), FaultKind::Yaml, 12),
        (format!("{first}data:\n  x: \"1\"\n  x: \"2\"\n"), FaultKind::Yaml, 7),
        (format!("{first}---\n{first}"), FaultKind::Duplicate, 6),
    ];
    for (manifest, kind, line) in cases {
        let files = [
            ("app/kustomization.yaml", "resources: [../lib/a.yaml]\n"),
            ("lib/a.yaml", manifest.as_str()),
        ];
        let fault = refusal(&files, "app").await;
        assert_eq!((fault.kind, fault.file.as_deref()), (kind, Some("lib/a.yaml")), "{fault}");
        assert_eq!(fault.line, Some(line), "{fault}");
    }
}

#[tokio::test]
async fn a_broken_kustomization_names_itself() {
    for (content, words) in [
        ("resources: [a.yaml]\nresources: []\n", "already set"),
        ("resources: [a.yaml\n", "not valid YAML"),
        ("resurces: [a.yaml]\n", "unknown field"),
    ] {
        let fault = refusal(&[("app/kustomization.yaml", content)], "app").await;
        assert_eq!(fault.file.as_deref(), Some("app/kustomization.yaml"), "{fault}");
        assert!(fault.message.contains(words), "{fault}");
    }
}

#[tokio::test]
async fn an_own_schema_does_not_reach_the_next_repository() {
    let one_worker = crate::Renderer::new(super::worker(), 1);
    let schema = r#"{"definitions":{"io.k8s.api.apps.v1.Deployment":{"type":"object","x-kubernetes-group-version-kind":[{"group":"apps","version":"v1","kind":"Deployment"}]}}}"#;
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: sidecar, image: proxy}\n";
    let patched = "resources: [d.yaml]\npatches:\n- path: p.yaml\n";
    let own = format!("openapi:\n  path: schema.json\n{patched}");
    let files = |kustomization: &str| {
        std::sync::Arc::new(super::repository(&[
            ("kustomization.yaml", kustomization),
            ("schema.json", schema),
            ("d.yaml", DEPLOYMENT),
            ("p.yaml", patch),
        ]))
    };
    let mut containers = Vec::new();
    for kustomization in [patched, own.as_str(), patched] {
        let rendered = one_worker.render(files(kustomization), "", Kind::Auto).await.unwrap();
        let list = &rendered.objects[0]["spec"]["template"]["spec"]["containers"];
        containers.push(list.as_array().unwrap().len());
    }
    assert_eq!(containers, [2, 1, 2], "merged by name, replaced by the own schema, merged again");
}

#[tokio::test]
async fn a_path_must_be_a_folder_of_the_repository() {
    let map = config_map("a");
    for (path, words) in [("none", "no such folder"), ("a.yaml", "a file there"), ("../x", "`..`")]
    {
        let Fault { message, .. } = refusal(&[("a.yaml", &map)], path).await;
        assert!(message.contains(words), "{message}");
    }
    let error = render_as(&[("app/a.yaml", &map)], "app", Kind::Kustomize).await.unwrap_err();
    assert!(error.to_string().contains("unable to find one of 'kustomization.yaml'"), "{error}");
}
