//! Rotation of the key that an environment signs with, while its pipeline goes on: the commands
//! of docs/keys.md, the real service, and a commit signed by a key that is not accepted any more.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_harness::story::until;

use crate::ward::{SETTINGS, Ward, hospital};

const PATIENCE: Duration = Duration::from_mins(2);
const BRANCH: &str = "deploy/rotation/dev/app";

fn sync(ward: &Ward) -> Value {
    ward.object("syncs", "rotation-dev-app")
}

/// Waits until the Sync accepts this many keys; gives them.
fn keys(ward: &Ward, number: usize) -> Vec<String> {
    until(&format!("the Sync accepts {number} keys"), PATIENCE, || {
        let keys = sync(ward)["spec"]["verify"]["keys"].clone();
        let keys: Vec<String> = serde_json::from_value(keys).unwrap_or_default();
        Ok(if keys.len() == number { Ok(keys) } else { Err(format!("{keys:?}")) })
    })
    .unwrap()
}

/// Pushes a setting and waits until the branch with it is applied.
fn deploys(ward: &Ward, shift: &str) {
    ward.commit(&[("dev/app/settings.yaml", &SETTINGS.replace("night", shift))]);
    let path = format!("/api/v1/namespaces/{}-dev/configmaps/settings", ward.name);
    until(&format!("the shift is {shift}"), PATIENCE, || {
        let found = ward.cluster.find(&path)?;
        let says = found.as_ref().map(|map| map["data"]["shift"].clone()).unwrap_or_default();
        let status = || sync(ward)["status"].to_string();
        Ok(if says == shift { Ok(()) } else { Err(format!("{says}; {}", status())) })
    })
    .unwrap();
}

/// Whether Git's own tool finds the branch's head signed by this key.
fn signed_by(ward: &Ward, key: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("allowed");
    std::fs::write(&allowed, format!("tidegate@tidegate.dev {key}\n")).unwrap();
    let file = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    ward.git(&["-c", &file, "verify-commit", BRANCH]).is_some()
}

/// Pushes a commit like the branch's head, with the next sequence, signed by this private key.
fn push_signed_by(ward: &Ward, private: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, private).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let message = ward.git(&["log", "-1", "--format=%B", BRANCH]).unwrap();
    let next: String = message
        .trim_end()
        .lines()
        .map(|line| match line.strip_prefix("Tidegate-Sequence: ") {
            Some(number) => {
                format!("Tidegate-Sequence: {}\n", number.parse::<u64>().unwrap() + 1)
            }
            None => format!("{line}\n"),
        })
        .collect();
    let output = Command::new("git")
        .arg("-C")
        .arg(hospital().lab.git_dir(&ward.name))
        .args(["-c", "gpg.format=ssh", "-c", &format!("user.signingkey={}", key.display())])
        .args(["-c", "user.name=Mallory", "-c", "user.email=mallory@example.org"])
        .args(["commit-tree", "-S", "-p", BRANCH, "-m", &next])
        .arg(format!("{BRANCH}^{{tree}}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ward.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &commit]).unwrap();
    commit
}

fn private_key(ward: &Ward) -> String {
    let secret = ward
        .cluster
        .get("/api/v1/namespaces/tidegate-system/secrets/tidegate-signing-rotation-dev")
        .unwrap();
    let encoded = secret["data"]["ssh-privatekey"].as_str().unwrap().to_owned();
    let output = Command::new("sh")
        .args(["-c", "printf %s \"$1\" | base64 --decode", "sh", &encoded])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_key_is_rotated_without_a_gap_and_then_retired() {
    let ward = Ward::with_app("rotation", &[("dev/app/settings.yaml", SETTINGS)]);
    ward.runs("configmaps", "settings");
    let old = keys(&ward, 1).remove(0);
    let old_private = private_key(&ward);
    assert!(signed_by(&ward, &old));

    // While the next change is on its way, the environment gets another key.
    ward.commit(&[("dev/app/settings.yaml", &SETTINGS.replace("night", "early"))]);
    let told = ward.tidegate(&["keys", "rotate", "--env", "dev"]);
    assert!(told.contains("is accepted beside it"), "{told}");
    let both = keys(&ward, 2);
    assert_eq!(both[1], old);
    let listed = ward.tidegate(&["keys", "list", "--env", "dev"]);
    assert!(listed.contains("signs") && listed.contains("accepted"), "{listed}");

    // The former key's head stays, and what comes next is signed by the new key.
    deploys(&ward, "day");
    assert!(signed_by(&ward, &both[0]) && !signed_by(&ward, &old));
    assert_eq!(sync(&ward)["status"]["refused"], Value::Null);

    let told = ward.tidegate(&["keys", "retire", "--env", "dev"]);
    assert!(told.contains("is not accepted in dev any more"), "{told}");
    assert_eq!(keys(&ward, 1), both[..1]);
    let head = ward.git(&["rev-parse", BRANCH]).unwrap();
    let stolen = push_signed_by(&ward, &old_private);
    // The engine looks when a forge tells it of a push, or after a while.
    ward.commit(&[("dev/security/late.yaml", &crate::ward::ACCOUNT.replace("nurse", "late"))]);
    until("what the retired key signed is refused", PATIENCE, || {
        let status = sync(&ward)["status"].clone();
        let refused = &status["refused"];
        let why = refused["reason"].as_str().unwrap_or_default();
        let told = refused["commit"] == stolen.as_str() && why.contains("not among the allowed");
        Ok(if told { Ok(()) } else { Err(status.to_string()) })
    })
    .unwrap();
    assert_eq!(sync(&ward)["status"]["accepted"]["commit"], head.trim());
}
