//! Snapshots: what stands in a commit, and nothing outside of it.

use crate::DEADLINE;
use crate::forge::{Change, Forge};
use std::collections::BTreeMap;
use tidegate_source::{Credentials, Entry, Error, Snapshot};

async fn snapshot(forge: &Forge) -> Snapshot {
    let mirror = forge.mirror();
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    mirror.snapshot(heads.branch("main").unwrap()).unwrap()
}

#[tokio::test]
async fn a_snapshot_reads_files_folders_and_tree_ids() {
    let forge = Forge::new();
    forge.write("apps/shop/deployment.yaml", "kind: Deployment\n");
    forge.write("apps/copy/deployment.yaml", "kind: Deployment\n");
    let head = forge.commit("README.md", "shop\n");
    let snapshot = snapshot(&forge).await;
    assert_eq!(snapshot.commit(), &head);
    let file = Entry::File(b"kind: Deployment\n".to_vec());
    let folder = |names: &[&str]| Entry::Directory(names.iter().map(|n| (*n).to_owned()).collect());
    let cases = [
        ("", folder(&["README.md", "apps/"])),
        ("./apps/", folder(&["copy/", "shop/"])),
        ("apps/shop/deployment.yaml", file),
        ("apps/shop/service.yaml", Entry::Missing),
        ("README.md/deeper", Entry::Missing),
    ];
    for (path, expected) in cases {
        assert_eq!(snapshot.entry(path).unwrap(), expected, "{path:?}");
    }
    let files = snapshot.files("apps/shop").unwrap();
    let expected = ("apps/shop/deployment.yaml".to_owned(), b"kind: Deployment\n".to_vec());
    assert_eq!(files, BTreeMap::from([expected]));
    assert_eq!(snapshot.files("./").unwrap().len(), 3);
    assert!(matches!(snapshot.files("apps/nothing"), Err(Error::NoFolder { .. })));
    let tree = |path| snapshot.tree_id(path).unwrap();
    assert_eq!(tree("apps/shop"), tree("apps/copy"), "equal content has an equal id");
    assert_ne!(tree("apps/shop"), tree("apps"));
    assert_eq!(tree("apps/nothing"), None);
}

#[tokio::test]
async fn no_path_and_no_link_leads_out_of_a_snapshot() {
    let forge = Forge::new();
    forge.write("apps/shop/deployment.yaml", "kind: Deployment\n");
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, forge.work().join(at)).unwrap();
    link("/etc/passwd", "apps/passwd");
    link("../..", "apps/up");
    let head = forge.commit("README.md", "shop\n");
    let submodule = format!("160000,{head},vendor");
    forge.git(&["update-index", "--add", "--cacheinfo", &submodule]);
    forge.git(&["commit", "-q", "-m", "Add a submodule"]);
    forge.git(&["push", "-q", "origin", "main"]);
    let snapshot = snapshot(&forge).await;
    assert_eq!(snapshot.entry("apps/passwd").unwrap(), Entry::Symlink);
    assert_eq!(snapshot.entry("apps/up").unwrap(), Entry::Symlink);
    assert_eq!(snapshot.entry("vendor").unwrap(), Entry::Submodule);
    for path in ["apps/up/README.md", "vendor/main.go"] {
        let outcome = snapshot.entry(path);
        assert!(matches!(outcome, Err(Error::NotFollowed { .. })), "{path}: {outcome:?}");
    }
    for path in ["../work/README.md", "/etc/passwd", "apps/../../mirrors", "apps//shop"] {
        let outcome = snapshot.entry(path);
        assert!(matches!(outcome, Err(Error::Path { .. })), "{path}: {outcome:?}");
    }
    let files: Vec<String> = snapshot.files("").unwrap().into_keys().collect();
    assert_eq!(files, ["README.md", "apps/shop/deployment.yaml"]);
}

#[tokio::test]
async fn a_tree_whose_names_lead_upwards_is_refused() {
    let forge = Forge::new();
    forge.commit("README.md", "shop\n");
    let blob = forge.git(&["rev-parse", "HEAD:README.md"]);
    let raw: Vec<u8> = [b"100644 ..\0".to_vec(), bytes(&blob)].concat();
    std::fs::write(forge.path().join("tree"), raw).unwrap();
    let path = forge.path().join("tree");
    let tree = forge.server_git(&[
        "hash-object",
        "-w",
        "--literally",
        "-t",
        "tree",
        path.to_str().unwrap(),
    ]);
    let commit = forge.server_git(&["commit-tree", "-m", "Upwards", &tree]);
    forge.server_git(&["update-ref", "refs/heads/main", &commit]);
    let mirror = forge.mirror();
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    let snapshot = mirror.snapshot(heads.branch("main").unwrap()).unwrap();
    assert!(matches!(snapshot.files(""), Err(Error::Path { .. })));
    assert!(matches!(snapshot.entry(""), Err(Error::Path { .. })));
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[tokio::test]
async fn too_much_is_refused_by_name() {
    let forge = Forge::new();
    forge.write("apps/a.yaml", "aaaaaaaaaaaaaaaaaaaa");
    forge.write("apps/b.yaml", "bbbbbbbbbbbbbbbbbbbb");
    forge.commit("README.md", "shop\n");
    let cases: [(&str, Change); 3] = [
        ("\"apps/a.yaml\" in commit", |limits| limits.file_bytes = 10),
        ("bytes in its files", |limits| limits.files_bytes = 30),
        ("files and folders", |limits| limits.files = 2),
    ];
    for (words, change) in cases {
        let mirror = forge.mirrors(change).mirror(&forge.file_url(), Credentials::none()).unwrap();
        let heads = mirror.fetch(DEADLINE).await.unwrap();
        let error = mirror.snapshot(heads.branch("main").unwrap()).unwrap().files("").unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn history_is_walked_newest_first_and_between_two_commits() {
    let forge = Forge::new();
    let commits: Vec<_> = (0..4).map(|n| forge.commit("shop.yaml", &n.to_string())).collect();
    let mirror = forge.mirror();
    mirror.fetch(DEADLINE).await.unwrap();
    let ids =
        |found: Vec<tidegate_source::Commit>| found.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let [first, second, third, last] = commits.as_slice() else { panic!("four commits") };
    let between = mirror.commits(Some(first), last, 10).await.unwrap();
    assert_eq!(between[0].subject(), "Change shop.yaml");
    assert_eq!(between[0].author.email, "alice@example.org");
    assert_eq!(ids(between), [last.clone(), third.clone(), second.clone()]);
    assert_eq!(ids(mirror.commits(None, last, 2).await.unwrap()), [last.clone(), third.clone()]);
    for (ancestor, descendant, is) in
        [(first, last, true), (last, first, false), (last, last, true)]
    {
        assert_eq!(mirror.is_ancestor(ancestor, descendant).await.unwrap(), is);
    }
    let unknown = "1".repeat(40).parse().unwrap();
    assert!(matches!(mirror.commits(None, &unknown, 1).await, Err(Error::NoCommit { .. })));
    assert!(!mirror.is_ancestor(&unknown, last).await.unwrap());
}
