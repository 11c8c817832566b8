use serde_json::json;

use super::{alias_bomb, config_map, names, refusal, render};
use crate::FaultKind;

#[tokio::test]
async fn a_plain_folder_gives_all_its_manifests_in_path_order() {
    let (a, b) = (config_map("a"), config_map("b"));
    let many = format!("# first\n---\n{b}---\n---\n# nothing\n---\n{}", config_map("c"));
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
	{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "listed"}}]}"#;
    let files = [
        ("app/z.yaml", a.as_str()),
        ("app/README.md", "read by people only"),
        ("app/inner/many.yml", &many),
        ("app/inner/list.json", list),
        ("elsewhere/x.yaml", "not read"),
    ];
    let rendered = render(&files, "app").await.unwrap();
    assert_eq!(names(&rendered), ["Secret listed", "ConfigMap b", "ConfigMap c", "ConfigMap a"]);
    let listed: Vec<_> = rendered.closure.listed.iter().map(String::as_str).collect();
    assert_eq!(listed, ["app", "app/inner"]);
    assert!(rendered.closure.missing.contains("app/kustomization.yaml"));
    assert!(!rendered.closure.files.contains("app/README.md"));
    assert_eq!(rendered, render(&files, "app").await.unwrap());
}

#[tokio::test]
async fn yaml_means_what_kubectl_reads() {
    let manifest = format!(
        "{}data: {{text: \"on\"}}\nimmutable: yes\nmode: 0777\nbase: &base {{k: 1}}\nmerged: {{<<: *base, l: 2}}\n",
        config_map("a")
    );
    let rendered = render(&[("app/a.yaml", &manifest)], "app").await.unwrap();
    let object = &rendered.objects[0];
    assert_eq!(object["immutable"], true);
    assert_eq!(object["mode"], 511);
    assert_eq!(object["data"]["text"], "on");
    assert_eq!(object["merged"], json!({"k": 1, "l": 2}));
}

#[tokio::test]
async fn what_is_not_a_manifest_is_refused_by_file_and_line() {
    use FaultKind::{Invalid, Limit, Unsupported, Yaml};
    let first = config_map("a");
    let deep = format!("{first}data: {}{}\n", "[".repeat(120), "]".repeat(120));
    let cases = [
        ("a.yaml", format!("{first}---\n{first}data:\n  x: 1\n y: 2\n"), Yaml, Some(12), "key"),
        ("a.yaml", format!("{first}---\n{first}data:\n  x: 1\n\ty: 2\n"), Yaml, Some(12), "tab"),
        ("a.yaml", format!("{first}data:\n  x: 1\n  x: 2\n"), Yaml, Some(7), "already set"),
        (
            "a.json",
            "{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}".into(),
            Yaml,
            Some(2),
            "already set",
        ),
        ("a.json", "{\"a\": 1,\n \"b\"}".into(), Yaml, Some(2), "not valid JSON"),
        ("a.yaml", "\n# text\nonly text\n".into(), Invalid, Some(3), "must be a mapping"),
        (
            "a.yaml",
            "Kind: ConfigMap\napiVersion: v1\n".into(),
            Invalid,
            Some(1),
            "kind must be set",
        ),
        ("a.yaml", "apiVersion: v1\nkind: Pod\n".into(), Invalid, Some(1), "metadata.name"),
        ("in/kustomization.yaml", "resources: []".into(), Unsupported, None, "kustomization file"),
        ("a.yaml", alias_bomb(), Yaml, None, "excessive aliasing"),
        ("a.yaml", deep, Limit, None, "100 levels"),
    ];
    for (file, content, kind, line, words) in cases {
        let path = format!("app/{file}");
        let fault = refusal(&[(path.as_str(), content.as_str())], "app").await;
        assert_eq!((fault.kind, fault.line), (kind, line), "{fault}");
        assert!(fault.message.contains(words), "{fault}");
        assert!(kind == Limit || fault.file.as_deref() == Some(path.as_str()), "{fault}");
    }
}

#[tokio::test]
async fn an_object_in_two_files_is_refused_with_both() {
    let map = config_map("same");
    let fault = refusal(&[("app/a.yaml", &map), ("app/b.yaml", &map)], "app").await;
    assert_eq!(fault.kind, FaultKind::Duplicate);
    assert_eq!(
        fault.to_string(),
        "app/b.yaml:1: ConfigMap same is defined twice, here and at app/a.yaml:1; keep one"
    );
}
