//! Commits, pushes and notes.

use crate::forge::{Forge, Server};
use crate::{DEADLINE, deploy, robot, time};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use tidegate_source::{Credentials, Entry, Error, NewNote, Push, SigningKey, Tree};

const BRANCH: &str = "refs/heads/deploy/shop/staging/app";

#[tokio::test]
async fn a_retry_makes_the_same_commit() {
    let forge = Forge::new();
    let key = SigningKey::generate().unwrap();
    let mirror = forge.mirror();
    let first = mirror.commit(deploy(None, 1, &key)).await.unwrap();
    assert_eq!(mirror.commit(deploy(None, 1, &key)).await.unwrap(), first);
    std::fs::remove_dir_all(forge.mirror_folder()).unwrap();
    assert_eq!(mirror.commit(deploy(None, 1, &key)).await.unwrap(), first, "even in a new mirror");
    assert_ne!(mirror.commit(deploy(None, 2, &key)).await.unwrap(), first);
    assert_eq!(mirror.fetch(DEADLINE).await.unwrap().iter().count(), 0, "no reference moved");
}

#[tokio::test]
async fn a_push_replaces_only_what_it_expects() {
    let forge = Forge::new();
    let server = Server::start(forge.path(), None);
    let key = SigningKey::generate().unwrap();
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    let first = mirror.commit(deploy(None, 1, &key)).await.unwrap();
    let second = mirror.commit(deploy(Some(&first), 2, &key)).await.unwrap();
    let elsewhere = mirror.commit(deploy(None, 7, &key)).await.unwrap();
    let push = async |new, expected| mirror.push(BRANCH, new, expected).await.unwrap();
    let on_server = || forge.server_git(&["rev-parse", BRANCH]);

    assert_eq!(push(&first, Some(&second)).await, Push::Moved(None));
    assert_eq!(push(&first, None).await, Push::Done);
    assert_eq!(mirror.heads().get(BRANCH), Some(&first));
    assert_eq!(push(&first, None).await, Push::Done, "a retry finds it done");
    assert_eq!(push(&second, None).await, Push::Moved(Some(first.clone())));
    assert_eq!(push(&second, Some(&first)).await, Push::Done);
    assert_eq!(push(&elsewhere, Some(&first)).await, Push::Moved(Some(second.clone())));
    assert_eq!(on_server(), second.as_str());
    assert_eq!(
        push(&elsewhere, Some(&second)).await,
        Push::Done,
        "a rewrite needs the exact lease"
    );
    assert_eq!(on_server(), elsewhere.as_str());
    assert_eq!(mirror.fetch(DEADLINE).await.unwrap().get(BRANCH), Some(&elsewhere));

    let unknown = "1".repeat(40).parse().unwrap();
    assert!(matches!(mirror.push(BRANCH, &unknown, None).await, Err(Error::NoCommit { .. })));
    for name in ["main", "refs/tags/v1", "refs/heads/a:refs/heads/b", "refs/heads/.."] {
        assert!(mirror.push(name, &first, None).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_the_server_rejects_is_refused_in_its_words() {
    let forge = Forge::new();
    let hook = forge.bare().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho 'only release managers may deploy' >&2\nexit 1\n")
        .unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(forge.path(), None);
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    let commit = mirror.commit(deploy(None, 1, &SigningKey::generate().unwrap())).await.unwrap();
    let Push::Refused(words) = mirror.push(BRANCH, &commit, None).await.unwrap() else {
        panic!("the hook was not obeyed")
    };
    assert!(words.contains("pre-receive hook declined"), "{words}");
    assert!(words.contains("only release managers may deploy"), "{words}");
    assert_eq!(mirror.heads().get(BRANCH), None);
}

#[tokio::test]
async fn a_push_without_the_right_to_write_says_so() {
    let forge = Forge::new();
    forge.server_git(&["config", "http.receivepack", "false"]);
    let server = Server::start(forge.path(), None);
    let credentials = Credentials::basic("robot", "s3cret").unwrap();
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), credentials).unwrap();
    let commit = mirror.commit(deploy(None, 1, &SigningKey::generate().unwrap())).await.unwrap();
    let error = mirror.push(BRANCH, &commit, None).await.unwrap_err().to_string();
    assert!(error.contains("with the right to push"), "{error}");
}

#[tokio::test]
async fn a_restored_commit_holds_the_same_tree() {
    let forge = Forge::new();
    let key = SigningKey::generate().unwrap();
    let mirror = forge.mirror();
    let good = mirror.commit(deploy(None, 1, &key)).await.unwrap();
    let bad = mirror.commit(deploy(Some(&good), 2, &key)).await.unwrap();
    let mut rollback = deploy(Some(&bad), 3, &key);
    rollback.tree = Tree::Of { commit: good.clone(), folder: String::new() };
    let restored = mirror.commit(rollback.clone()).await.unwrap();
    let tree = |id| mirror.snapshot(id).unwrap().tree_id("").unwrap();
    assert_eq!(tree(&restored), tree(&good));
    assert_ne!(tree(&restored), tree(&bad));
    assert!(mirror.is_ancestor(&bad, &restored).await.unwrap(), "it is a forward commit");

    rollback.tree = Tree::Of { commit: good.clone(), folder: "manifests".to_owned() };
    let part = mirror.commit(rollback).await.unwrap();
    let listed = mirror.snapshot(&part).unwrap().entry("").unwrap();
    assert_eq!(listed, Entry::Directory(vec!["configmap.yaml".to_owned()]));
}

#[tokio::test]
async fn files_that_cannot_stand_in_a_tree_are_refused() {
    let forge = Forge::new();
    let key = SigningKey::generate().unwrap();
    let mirror = forge.mirror();
    let cases: [&[&str]; 6] =
        [&["../up"], &["/abs"], &[""], &["a/.git/hooks/x"], &["a", "a/b"], &["./a", "a"]];
    for paths in cases {
        let mut commit = deploy(None, 1, &key);
        let files = paths.iter().map(|path| ((*path).to_owned(), Vec::new()));
        commit.tree = Tree::Files(files.collect::<BTreeMap<_, _>>());
        let outcome = mirror.commit(commit).await;
        assert!(matches!(outcome, Err(Error::Path { .. })), "{paths:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn known_good_commits_are_noted_for_everybody() {
    let forge = Forge::new();
    let key = SigningKey::generate().unwrap();
    let first = forge.commit("shop.yaml", "one");
    let second = forge.commit("shop.yaml", "two");
    let (ours, theirs) = (forge.mirror(), forge.mirror());
    for mirror in [&ours, &theirs] {
        mirror.fetch(DEADLINE).await.unwrap();
    }
    let note = |commit: &tidegate_ids::CommitId, text: &str| NewNote {
        commit: commit.clone(),
        text: text.to_owned(),
        author: robot(),
        time: time(),
        key: key.clone(),
    };
    assert_eq!(ours.note(&first).await.unwrap(), None);
    assert_eq!(ours.set_note(note(&first, "staging app 4\n")).await.unwrap(), Push::Done);
    // The other one has not seen the first note, and must keep it all the same.
    assert_eq!(theirs.set_note(note(&second, "staging app 5\n")).await.unwrap(), Push::Done);
    ours.fetch(DEADLINE).await.unwrap();
    assert_eq!(ours.note(&first).await.unwrap().as_deref(), Some("staging app 4\n"));
    assert_eq!(ours.note(&second).await.unwrap().as_deref(), Some("staging app 5\n"));
    let shown = forge.server_git(&["notes", "--ref=tidegate/known-good", "show", first.as_str()]);
    assert_eq!(shown, "staging app 4");
}
