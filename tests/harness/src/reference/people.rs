//! The people of the hospital: who they are is in `tidegate/roster.yaml`; their keys and client
//! certificates are made for each lab.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use super::wrong;
use crate::Lab;
use crate::error::{LabError, file, run};

/// Somebody who works at the hospital.
#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    /// As in the Roster.
    pub name: &'static str,
    /// Every user name this person signs in with.
    pub users: &'static [&'static str],
    /// The address on commits.
    pub email: &'static str,
    /// The groups in the client certificates.
    pub groups: &'static [&'static str],
}

/// Everybody. `ann` writes the commits, and is a release manager too: her approval of her own
/// change must not count. `jane` has two user names and counts once. `vic` may only read.
pub const PEOPLE: [Person; 6] = [
    Person {
        name: "Ann Fischer",
        users: &["ann"],
        email: "ann@hospital.example",
        groups: &["platform-engineers", "release-managers"],
    },
    Person {
        name: "Jane Roe",
        users: &["jane", "oidc:jane@hospital.example"],
        email: "jane@hospital.example",
        groups: &["release-managers"],
    },
    Person {
        name: "Joe Weber",
        users: &["joe"],
        email: "joe@hospital.example",
        groups: &["release-managers"],
    },
    Person {
        name: "Pia Novak",
        users: &["pia"],
        email: "pia@hospital.example",
        groups: &["platform-engineers"],
    },
    Person {
        name: "Sam Okafor",
        users: &["sam"],
        email: "sam@hospital.example",
        groups: &["security-officers"],
    },
    Person {
        name: "Vic Lang",
        users: &["vic"],
        email: "vic@hospital.example",
        groups: &["auditors"],
    },
];

/// What everybody signs commits and signs in with.
#[derive(Debug)]
pub(super) struct Credentials {
    kubeconfigs: BTreeMap<&'static str, PathBuf>,
    /// Private key and the line of the public one, by the person's name.
    keys: BTreeMap<&'static str, (PathBuf, String)>,
}

impl Credentials {
    pub(super) fn make(lab: &Lab) -> Result<Self, LabError> {
        let (mut kubeconfigs, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for person in &PEOPLE {
            for user in person.users {
                kubeconfigs.insert(*user, lab.person(user, person.groups)?);
            }
            keys.insert(person.name, signing_key(lab, person)?);
        }
        Ok(Self { kubeconfigs, keys })
    }

    pub(super) fn kubeconfig(&self, user: &str) -> Result<PathBuf, LabError> {
        self.kubeconfigs.get(user).cloned().ok_or_else(|| nobody(user))
    }

    /// The person who has this user name, and the path of the signing key.
    pub(super) fn of(&self, user: &str) -> Result<(&'static Person, &PathBuf), LabError> {
        let person = PEOPLE.iter().find(|p| p.users.contains(&user)).ok_or_else(|| nobody(user))?;
        let (key, _) = self.keys.get(person.name).ok_or_else(|| nobody(user))?;
        Ok((person, key))
    }

    /// Puts each person's key where the Roster leaves room for it.
    pub(super) fn in_roster(&self, roster: &str) -> String {
        let mut public = None;
        let mut lines = Vec::new();
        for line in roster.lines() {
            if let Some(name) = line.trim().strip_prefix("- name: ") {
                public = self.keys.get(name).map(|(_, public)| public);
            }
            match (line.strip_suffix("sshKeys: []"), public) {
                (Some(indent), Some(key)) => lines.push(format!("{indent}sshKeys: [\"{key}\"]")),
                _ => lines.push(line.to_owned()),
            }
        }
        lines.join("\n") + "\n"
    }
}

fn nobody(user: &str) -> LabError {
    wrong(format!("looking for the person {user}"), "nobody of PEOPLE has this user name")
}

fn signing_key(lab: &Lab, person: &Person) -> Result<(PathBuf, String), LabError> {
    let path = lab.folder().join("keys").join(format!("{}.ssh", person.users[0]));
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", person.email, "-f"]).arg(&path);
    run(format!("making the signing key of {}", person.name), &mut command)?;
    let public = path.with_extension("ssh.pub");
    let line = std::fs::read_to_string(&public).map_err(file("reading", &public))?;
    Ok((path, line.trim().to_owned()))
}
