//! Fetching: what is seen, what it costs, and every way it can fail.

use crate::DEADLINE;
use crate::forge::{Change, Forge, Server};
use std::time::Duration;
use tidegate_source::{Credentials, Error};

type Damage = fn(&std::path::Path);

#[tokio::test]
async fn a_fetch_sees_new_commits_and_forgets_deleted_branches() {
    let forge = Forge::new();
    let first = forge.commit("shop.yaml", "one");
    forge.git(&["push", "-q", "origin", "main:feature", "main:refs/tidegate/releases/r1"]);
    let server = Server::start(forge.path(), None);
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    assert_eq!(mirror.heads().iter().count(), 0);
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    assert_eq!(heads.branch("main").unwrap(), &first);
    assert_eq!(heads.branch("feature").unwrap(), &first);
    assert_eq!(heads.get("refs/tidegate/releases/r1"), Some(&first));

    let second = forge.commit("shop.yaml", "two");
    forge.git(&["push", "-q", "origin", ":feature"]);
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    assert_eq!(heads.branch("main").unwrap(), &second);
    assert_eq!(mirror.heads(), heads);
    assert!(matches!(heads.branch("feature"), Err(Error::NoBranch { .. })));

    let again = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    assert_eq!(again.heads(), heads, "a restart keeps the mirror");
}

#[tokio::test]
async fn a_rewritten_branch_and_an_empty_repository_are_fetched_as_they_are() {
    let forge = Forge::new();
    let mirror = forge.mirror();
    assert_eq!(mirror.fetch(DEADLINE).await.unwrap().iter().count(), 0);
    let old = forge.commit("shop.yaml", "one");
    mirror.fetch(DEADLINE).await.unwrap();
    let new = forge.commit_all(&["--amend", "-m", "Rewritten"]);
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    assert_eq!(heads.branch("main").unwrap(), &new);
    assert!(!mirror.is_ancestor(&old, &new).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_a_fetch() {
    let forge = Forge::new();
    let head = forge.commit("shop.yaml", "one");
    let server = Server::start(forge.path(), None);
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let mirror = mirror.clone();
            tokio::spawn(async move { mirror.fetch(DEADLINE).await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().branch("main").unwrap(), &head);
    }
    assert!(server.listings() <= 3, "{} fetches for 50 callers", server.listings());
}

#[tokio::test]
async fn the_server_decides_on_credentials() {
    const BASIC: &str = "Basic cm9ib3Q6czNjcmV0";
    const BEARER: &str = "Bearer s3cret";
    let basic = |password| Credentials::basic("robot", password).unwrap();
    let bearer = |token| Credentials::bearer(token).unwrap();
    let forge = Forge::new();
    forge.commit("shop.yaml", "one");
    let cases = [
        (BASIC, basic("s3cret"), Ok(())),
        (BASIC, basic("wr0ng"), Err("the credentials were refused")),
        (BASIC, Credentials::none(), Err("wants credentials and none were given")),
        (BEARER, bearer("s3cret"), Ok(())),
        (BEARER, bearer("wr0ng"), Err("the credentials were refused")),
    ];
    for (asked, given, expected) in cases {
        let server = Server::start(forge.path(), Some(asked));
        let mirror = forge.mirrors(|_| {}).mirror(&server.url(), given.clone()).unwrap();
        match (mirror.fetch(DEADLINE).await, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(words)) => {
                let message = error.to_string();
                assert!(message.contains(words) && !message.contains("wr0ng"), "{message}");
            }
            (outcome, _) => panic!("{asked} with {given:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn credentials_do_not_share_a_mirror() {
    let forge = Forge::new();
    let mirrors = forge.mirrors(|_| {});
    let mirror = |secret| {
        let credentials = Credentials::bearer(secret).unwrap();
        mirrors.mirror("https://git.example.org/shop.git", credentials).unwrap()
    };
    assert!(std::sync::Arc::ptr_eq(&mirror("one"), &mirror("one")));
    assert!(!std::sync::Arc::ptr_eq(&mirror("one"), &mirror("two")));
}

#[tokio::test]
async fn a_server_that_is_down_and_a_repository_that_is_not_there_are_told_apart() {
    let forge = Forge::new();
    forge.commit("shop.yaml", "one");
    let server = Server::start(forge.path(), None);
    let url = server.url();
    let mirrors = forge.mirrors(|_| {});
    let mirror = mirrors.mirror(&url, Credentials::none()).unwrap();
    let heads = mirror.fetch(DEADLINE).await.unwrap();
    let other = mirrors.mirror(&url.replace("shop", "shoe"), Credentials::none()).unwrap();
    assert!(matches!(other.fetch(DEADLINE).await, Err(Error::NoRepository { .. })));
    drop(server);
    let error = mirror.fetch(DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("127.0.0.1") && message.contains("check"), "{message}");
    assert_eq!(mirror.heads(), heads, "what is known stays known");
    assert!(mirror.snapshot(heads.branch("main").unwrap()).is_ok());
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_deadline_and_no_more() {
    let forge = Forge::new();
    let server = Server::silent();
    let mirror = forge.mirrors(|_| {}).mirror(&server.url(), Credentials::none()).unwrap();
    let outcome = mirror.fetch(Duration::from_millis(300)).await;
    assert!(matches!(outcome, Err(Error::Deadline { .. })), "{outcome:?}");
    drop(server);
}

#[tokio::test]
async fn a_lost_mirror_is_cloned_anew() {
    let forge = Forge::new();
    let head = forge.commit("shop.yaml", "one");
    let mirror = forge.mirror();
    mirror.fetch(DEADLINE).await.unwrap();
    std::fs::remove_dir_all(forge.mirror_folder()).unwrap();
    assert!(matches!(mirror.snapshot(&head), Err(Error::Mirror { .. })));
    assert_eq!(mirror.fetch(DEADLINE).await.unwrap().branch("main").unwrap(), &head);
    assert!(mirror.snapshot(&head).is_ok());

    std::fs::remove_dir_all(forge.mirror_folder()).unwrap();
    assert_eq!(mirror.commits(None, &head, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_mirror_is_cloned_anew() {
    let forge = Forge::new();
    let head = forge.commit("shop.yaml", "one");
    let objects = |path: &std::path::Path| path.join("objects");
    let damages: [(&str, Damage); 4] = [
        ("packs cut off", |mirror| {
            for file in std::fs::read_dir(mirror.join("objects/pack")).unwrap() {
                let path = file.unwrap().path();
                std::fs::remove_file(&path).unwrap();
                std::fs::write(path, "PACK").unwrap();
            }
        }),
        ("objects gone", |mirror| std::fs::remove_dir_all(mirror.join("objects")).unwrap()),
        ("HEAD overwritten", |mirror| std::fs::write(mirror.join("HEAD"), "nonsense").unwrap()),
        ("a reference overwritten", |mirror| {
            std::fs::write(mirror.join("refs/heads/main"), "nonsense").unwrap();
        }),
    ];
    for (damage, apply) in damages {
        let mirror = forge.mirror();
        mirror.fetch(DEADLINE).await.unwrap();
        apply(&forge.mirror_folder());
        let heads = mirror.fetch(DEADLINE).await;
        assert_eq!(heads.unwrap().branch("main").unwrap(), &head, "{damage}");
        assert!(mirror.snapshot(&head).unwrap().files("").is_ok(), "{damage}");
        assert!(objects(&forge.mirror_folder()).is_dir());
    }
}

#[tokio::test]
async fn a_mirror_of_many_packs_is_cloned_anew() {
    let forge = Forge::new();
    let server = Server::start(forge.path(), None);
    let mirrors = forge.mirrors(|limits| limits.packs = 3);
    let mirror = mirrors.mirror(&server.url(), Credentials::none()).unwrap();
    for round in 0..8 {
        let head = forge.commit("shop.yaml", &round.to_string());
        assert_eq!(mirror.fetch(DEADLINE).await.unwrap().branch("main").unwrap(), &head);
        let packs = std::fs::read_dir(forge.mirror_folder().join("objects/pack")).unwrap();
        let packs = packs.filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "pack");
        assert!(packs.count() <= 4, "round {round}");
    }
}

#[tokio::test]
async fn a_repository_above_its_limits_is_refused() {
    let forge = Forge::new();
    forge.commit("shop.yaml", "one");
    forge.git(&["push", "-q", "origin", "main:a", "main:b", "main:c"]);
    let server = Server::start(forge.path(), None);
    let cases: [(&str, Change); 3] = [
        ("references", |limits| limits.references = 3),
        ("bytes to fetch", |limits| limits.received_bytes = 10),
        ("objects to fetch", |limits| limits.received_objects = 1),
    ];
    for (what, change) in cases {
        let mirror = forge.mirrors(change).mirror(&server.url(), Credentials::none()).unwrap();
        let error = mirror.fetch(DEADLINE).await.unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_sweep_removes_the_mirrors_that_nobody_holds() {
    let forge = Forge::new();
    forge.commit("shop.yaml", "one");
    let mirrors = forge.mirrors(|_| {});
    let mirror = mirrors.mirror(&forge.file_url(), Credentials::none()).unwrap();
    mirror.fetch(DEADLINE).await.unwrap();
    let folders = || std::fs::read_dir(forge.mirrors_folder()).unwrap().count();
    mirrors.sweep().unwrap();
    assert_eq!(folders(), 1);
    drop(mirror);
    mirrors.sweep().unwrap();
    assert_eq!(folders(), 0);
}
