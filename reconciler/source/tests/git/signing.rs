//! Signatures, both ways: what Tidegate signs the real `git` verifies, and the
//! other way round.

use crate::forge::Forge;
use crate::{DEADLINE, deploy};
use std::process::Command;
use tidegate_source::{Commit, PublicKey, Push, SignatureError, SigningKey};

/// A key made by `ssh-keygen`, and its public half.
fn keygen(forge: &Forge, name: &str, options: &[&str]) -> (String, PublicKey) {
    let path = forge.path().join(name).to_str().unwrap().to_owned();
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", name, "-f", &path]).args(options);
    assert!(command.status().unwrap().success());
    let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
    (path, public.parse().unwrap())
}

fn sign_with(forge: &Forge, key: &str) {
    forge.git(&["config", "gpg.format", "ssh"]);
    forge.git(&["config", "user.signingkey", key]);
}

async fn head(forge: &Forge) -> Commit {
    let mirror = forge.mirror();
    let head = mirror.fetch(DEADLINE).await.unwrap().branch("main").unwrap().clone();
    mirror.commits(None, &head, 1).await.unwrap().remove(0)
}

#[tokio::test]
async fn commits_signed_by_git_with_keys_of_ssh_keygen_verify() {
    let forge = Forge::new();
    let stranger = SigningKey::generate().unwrap().public();
    let kinds: [(&str, &[&str]); 4] = [
        ("ed25519", &["-t", "ed25519"]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ];
    for (name, options) in kinds {
        let (path, public) = keygen(&forge, name, options);
        sign_with(&forge, &path);
        forge.write("shop.yaml", name);
        forge.commit_all(&["-S", "-m", "Change the shop", "-m", "Refs: 7"]);
        let commit = head(&forge).await;
        let allowed = [stranger.clone(), public.clone()];
        assert_eq!(commit.verify(&allowed).unwrap(), &public, "{name}");
        assert_eq!(commit.trailer("Refs"), Some("7"));
        let fingerprint = public.fingerprint();
        let refused = commit.verify(std::slice::from_ref(&stranger)).unwrap_err();
        assert_eq!(
            refused,
            SignatureError::UnknownKey { commit: commit.id.to_string(), fingerprint },
            "{name}"
        );
        let listed = Command::new("ssh-keygen").args(["-l", "-f", &path]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&listed).contains(&public.fingerprint()));
    }
}

#[tokio::test]
async fn an_unsigned_and_a_changed_commit_are_refused() {
    let forge = Forge::new();
    let (path, public) = keygen(&forge, "alice", &["-t", "ed25519"]);
    let allowed = [public];
    forge.commit("shop.yaml", "one");
    let unsigned = head(&forge).await;
    assert_eq!(unsigned.verify(&allowed), Err(SignatureError::Unsigned(unsigned.id.to_string())));

    sign_with(&forge, &path);
    forge.write("shop.yaml", "two");
    let signed = forge.commit_all(&["-S", "-m", "Deploy one replica"]);
    let raw = forge.server_git(&["cat-file", "commit", signed.as_str()]) + "\n";
    let changes = [
        ("one replica", "ten replicas"),
        ("Alice", "Mallory"),
        ("-----BEGIN SSH", "-----BEGIN PGP"),
    ];
    for (before, after) in changes {
        assert!(raw.contains(before));
        let file = forge.path().join("changed");
        std::fs::write(&file, raw.replace(before, after)).unwrap();
        let id = forge.server_git(&["hash-object", "-w", "-t", "commit", file.to_str().unwrap()]);
        forge.server_git(&["update-ref", "refs/heads/main", &id]);
        let refused = head(&forge).await.verify(&allowed).unwrap_err();
        match refused {
            SignatureError::Invalid { why, .. } => assert!(why.contains("changed after"), "{why}"),
            SignatureError::OtherForm(_) => assert!(after.contains("PGP")),
            other => panic!("{before} -> {after}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_signature_for_another_purpose_is_refused() {
    let forge = Forge::new();
    let (path, public) = keygen(&forge, "alice", &["-t", "ed25519"]);
    forge.commit("shop.yaml", "one");
    let raw = forge.server_git(&["cat-file", "commit", "main"]) + "\n";
    let payload = forge.path().join("payload");
    std::fs::write(&payload, &raw).unwrap();
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", "file", "-f", &path, payload.to_str().unwrap()]);
    assert!(sign.status().unwrap().success());
    let signature = std::fs::read_to_string(forge.path().join("payload.sig")).unwrap();
    let header = format!("\ngpgsig {}\n\n", signature.trim().replace('\n', "\n "));
    std::fs::write(&payload, raw.replacen("\n\n", &header, 1)).unwrap();
    let id = forge.server_git(&["hash-object", "-w", "-t", "commit", payload.to_str().unwrap()]);
    forge.server_git(&["update-ref", "refs/heads/main", &id]);
    let refused = head(&forge).await.verify(&[public]).unwrap_err().to_string();
    assert!(refused.contains("another purpose"), "{refused}");
}

#[tokio::test]
async fn commits_of_tidegate_verify_with_git_and_read_back() {
    let forge = Forge::new();
    let mirror = forge.mirror();
    mirror.fetch(DEADLINE).await.unwrap();
    let text = SigningKey::generate().unwrap().to_openssh().unwrap();
    let key = SigningKey::from_openssh(&text).unwrap();
    let id = mirror.commit(deploy(None, 1, &key)).await.unwrap();
    let branch = "refs/heads/deploy/shop/staging/app";
    assert_eq!(mirror.push(branch, &id, None).await.unwrap(), Push::Done);

    let signers = forge.path().join("signers");
    std::fs::write(&signers, format!("tidegate@example.org namespaces=\"git\" {}\n", key.public()))
        .unwrap();
    let option = format!("gpg.ssh.allowedSignersFile={}", signers.display());
    let verdict = forge.server_git(&["-c", &option, "verify-commit", "-v", branch]);
    assert!(verdict.contains("Good \"git\" signature for tidegate@example.org"), "{verdict}");
    let checked = forge.server_git(&["fsck", "--strict"]);
    assert!(!checked.contains("error"), "{checked}");

    let commit = mirror.commits(None, &id, 1).await.unwrap().remove(0);
    assert_eq!(commit.verify(&[key.public()]).unwrap(), &key.public());
    assert_eq!(commit.trailer("Tidegate-Sequence"), Some("1"));
    assert_eq!(commit.time, crate::time());
}
