//! What registries and people wrote, given to everything that reads it: for the fuzzer (`cargo xtask
//! fuzz`) and for the test that replays its corpora.
//!
//! It looks for panics, memory and time; and what is said of a secret's file must not quote it.

#![allow(clippy::panic, reason = "what it finds is told by a panic")]

use reqwest::header::{HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE};
use tidegate_ids::Digest;

use crate::challenge::Challenge;
use crate::content::ConfigFile;
use crate::referrers::Listing;
use crate::repository::next_link;
use crate::{ImageConfig, Keychain, Manifest, RepositoryName};

/// A manifest, an index, a list of referrers, an image's or Docker's configuration, a name, or a
/// header of an answer: whatever these bytes are taken for. By how many readers they are.
#[must_use]
pub fn manifest(bytes: &[u8]) -> usize {
    let read = [
        content(bytes),
        listed(bytes),
        serde_json::from_slice::<ConfigFile>(bytes).is_ok_and(|file| {
            let config = ImageConfig::from(file);
            config.created.is_some() || !config.labels.is_empty()
        }),
        credentials(bytes),
        name(bytes),
        header(bytes),
    ];
    read.into_iter().filter(|taken| *taken).count()
}

fn content(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::read(bytes.to_vec(), Some("application/json")) else {
        return false;
    };
    assert_eq!(manifest.digest, Digest::of(bytes));
    let both = manifest.is_index() && manifest.parts.config.is_some();
    assert!(!both, "a manifest and an index at once");
    let representative = manifest.representative();
    assert!(representative.is_none_or(|one| manifest.platforms().contains(one)));
    manifest.artifact_type().is_some() || manifest.subject().is_some() || manifest.is_index()
}

fn listed(bytes: &[u8]) -> bool {
    let mut listing = Listing::default();
    listing.add_index(bytes, "the list");
    let relevant = listing.relevant();
    assert!(relevant.iter().all(|digest| listing.has(*digest)));
    !relevant.is_empty()
}

fn credentials(bytes: &[u8]) -> bool {
    let readers = [Keychain::docker_config, Keychain::docker_cfg];
    let read = readers.map(|read| match read(bytes, "Secret clinic/pull") {
        Ok(keychain) => {
            for registry in ["docker.io", "registry.example.com:5000", "clinic.azurecr.io"] {
                keychain.find(registry, "hospital/odoo");
            }
            keychain.find("docker.io", "library/redis").is_some()
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(|c: char| c.is_control()), "control characters: {said:?}");
            false
        }
    });
    read.contains(&true)
}

/// A name's canonical form is a name, and its own canonical form.
fn name(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(name) = text.parse::<RepositoryName>() else { return false };
    let again = name.to_string().parse::<RepositoryName>();
    assert!(again.as_ref().is_ok_and(|again| *again == name), "{name} is not canonical: {again:?}");
    true
}

fn header(bytes: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value.clone()), (LINK, value)]);
    let next = next_link(&headers);
    Challenge::of(&headers).is_some() || next.is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::manifest;

    #[test]
    fn what_the_fuzzer_knows_is_read_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/manifest");
        let files = fs::read_dir(folder).unwrap();
        let taken = files
            .filter(|file| manifest(&fs::read(file.as_ref().unwrap().path()).unwrap()) > 0)
            .count();
        // So that a changed reader does not leave the fuzzer outside.
        assert!(taken >= 8, "only {taken} inputs are taken for anything");
        for bytes in [b"".as_slice(), b"{}", b"[[[[", b"\xff"] {
            assert_eq!(manifest(bytes), 0);
        }
    }
}
