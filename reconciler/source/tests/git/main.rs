//! Sources against the real `git`: its server, its signatures, its notes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod forge;
mod reading;
mod signing;
mod transfer;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_ids::CommitId;
use tidegate_source::{NewCommit, Person, SigningKey, Tree, with_trailers};

const DEADLINE: Duration = Duration::from_secs(20);

fn robot() -> Person {
    Person { name: "Tidegate".to_owned(), email: "tidegate@example.org".to_owned() }
}

fn time() -> jiff::Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A deploy commit with one manifest.
fn deploy(parent: Option<&CommitId>, sequence: u32, key: &SigningKey) -> NewCommit {
    let manifest = format!("kind: ConfigMap\nmetadata: {{name: shop-{sequence}}}\n");
    NewCommit {
        parent: parent.cloned(),
        tree: Tree::Files(BTreeMap::from([
            ("release.yaml".to_owned(), b"release: shop-app\n".to_vec()),
            ("manifests/configmap.yaml".to_owned(), manifest.into_bytes()),
        ])),
        message: with_trailers(
            "Deploy shop to staging",
            [("Tidegate-Lane", "app"), ("Tidegate-Sequence", sequence.to_string().as_str())],
        ),
        author: robot(),
        time: time(),
        key: key.clone(),
    }
}
