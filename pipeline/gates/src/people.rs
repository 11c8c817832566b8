//! One person, several user names: who counts as the same person, by the Rosters.

use std::collections::BTreeMap;
use tidegate_schemas::RosterSpec;

/// User names and signing keys, and the person or machine that each belongs to.
#[derive(Debug, Clone, Default)]
pub struct People {
    users: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
}

impl People {
    /// From every Roster there is.
    #[must_use]
    pub fn new<'a>(rosters: impl IntoIterator<Item = &'a RosterSpec>) -> Self {
        let mut people = Self::default();
        for roster in rosters {
            for person in &roster.people {
                for user in &person.users {
                    people.users.insert(user.clone(), person.name.clone());
                }
                for key in &person.ssh_keys {
                    people.keys.insert(key_body(key), person.name.clone());
                }
            }
            for machine in &roster.machines {
                for key in &machine.ssh_keys {
                    people.keys.insert(key_body(key), machine.name.clone());
                }
            }
        }
        people
    }

    /// The person behind a user name; the user name itself where no Roster has it.
    #[must_use]
    pub fn person<'a>(&'a self, user: &'a str) -> &'a str {
        self.users.get(user).map_or(user, String::as_str)
    }

    /// Whether a Roster has this user name, or there is no Roster at all and names stand for themselves.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.users.is_empty() || self.users.contains_key(user)
    }

    /// Who owns a signing key (OpenSSH form; its comment does not matter).
    #[must_use]
    pub fn signer(&self, key: &str) -> Option<&str> {
        self.keys.get(&key_body(key)).map(String::as_str)
    }

    /// Every signing key, without comments.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

/// Type and body of an OpenSSH public key, without its comment.
fn key_body(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
