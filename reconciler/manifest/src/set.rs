//! All objects of one lane in one environment: sorted, without duplicates.
//!
//! The set's digest is what a release, a promotion and an approval speak of, so it
//! depends on the objects alone: not on their order, their files or the way a
//! file is written. Its files are what is committed; reading them gives the set.

use crate::{Error, ImageFields, Manifest, Unpinned, read};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use tidegate_ids::{Digest, ObjectId};

/// File names longer than this are cut and end in a digest.
const MAX_FILE_NAME: usize = 200;

/// A set of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set(BTreeMap<ObjectId, Manifest>);

impl Set {
    /// From objects in any order.
    ///
    /// # Errors
    /// When two of them are the same object.
    pub fn from_manifests(manifests: impl IntoIterator<Item = Manifest>) -> Result<Self, Error> {
        let mut set = BTreeMap::<ObjectId, Manifest>::new();
        for manifest in manifests {
            if let Some(first) = set.get(manifest.id()) {
                return Err(Error::Duplicate {
                    object: Box::new(manifest.id().clone()),
                    first: first.origin().to_owned(),
                    second: manifest.origin().to_owned(),
                });
            }
            set.insert(manifest.id().clone(), manifest);
        }
        Ok(Self(set))
    }

    /// From files of YAML or JSON, one or more documents each; the names are for errors.
    ///
    /// # Errors
    /// When a file cannot be read as objects, or an object is stated twice.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        let mut found = Vec::new();
        for (name, bytes) in files {
            found.extend(read::manifests(bytes, name)?);
        }
        Self::from_manifests(found)
    }

    /// One file for each object, named after it: the same set, the same files.
    #[must_use]
    pub fn to_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for manifest in self {
            let mut name = file_name(manifest.id(), false);
            if files.contains_key(&name) {
                name = file_name(manifest.id(), true);
            }
            files.insert(name, manifest.to_yaml().into_bytes());
        }
        files
    }

    /// The objects, sorted by identity.
    pub fn iter(&self) -> std::collections::btree_map::Values<'_, ObjectId, Manifest> {
        self.0.values()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<&Manifest> {
        self.0.get(id)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// SHA-256, under the tag `tidegate-manifests/v1`, over the mapping of each
    /// object's identity in text to the digest of its content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let objects: BTreeMap<String, Digest> =
            self.iter().map(|m| (m.id().to_string(), m.digest())).collect();
        Digest::tagged("tidegate-manifests/v1", &objects)
            .unwrap_or_else(|_| unreachable!("a mapping of text to text has a JSON form"))
    }

    /// Pins every image; see [`ImageFields::pin`]. Returns what has no digest.
    ///
    /// # Errors
    /// As [`ImageFields::pin`].
    pub fn pin(
        &mut self,
        digests: &BTreeMap<String, Digest>,
        fields: &ImageFields,
    ) -> Result<Vec<Unpinned>, Error> {
        let mut unpinned = Vec::new();
        for manifest in self.0.values_mut() {
            unpinned.extend(fields.pin(manifest, digests)?);
        }
        Ok(unpinned)
    }

    /// Every image that the objects name, as stated, each once.
    #[must_use]
    pub fn images(&self, fields: &ImageFields) -> BTreeSet<String> {
        self.iter()
            .flat_map(|manifest| fields.images(manifest))
            .map(|image| image.reference)
            .collect()
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = &'a Manifest;
    type IntoIter = std::collections::btree_map::Values<'a, ObjectId, Manifest>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Set {
    type Item = Manifest;
    type IntoIter = std::collections::btree_map::IntoValues<ObjectId, Manifest>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

/// `deployment.apps_clinic-dev_odoo-web.yaml`: lower-case letters, digits, `.`
/// and `-`; `_` between the parts; every other byte as `=` and two hexadecimal
/// digits, so that two names stay two on every file system.
fn file_name(id: &ObjectId, with_digest: bool) -> String {
    let kind = id.group_kind.to_string().to_lowercase();
    let mut stem = kind;
    for part in id.namespace.iter().chain([&id.name]) {
        stem.push('_');
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => stem.push(char::from(byte)),
                other => {
                    let _infallible = write!(stem, "={other:02x}");
                }
            }
        }
    }
    if with_digest || stem.len() > MAX_FILE_NAME {
        let digest = Digest::of(id.to_string().as_bytes());
        let start: String = stem.chars().take(MAX_FILE_NAME - 20).collect();
        stem = format!("{start}_={}", digest.short());
    }
    stem + ".yaml"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(kind: &str, namespace: Option<&str>, name: &str, data: &str) -> Manifest {
        let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name},
                               "data": {"text": data}});
        if let Some(namespace) = namespace {
            value["metadata"]["namespace"] = json!(namespace);
        }
        Manifest::from_value(value, &format!("{name}.yaml")).unwrap()
    }

    #[test]
    fn a_duplicate_names_the_object_and_both_files() {
        let twice = [
            Manifest::from_value(object("ConfigMap", None, "a", "1").into_value(), "one.yaml"),
            Manifest::from_value(object("ConfigMap", None, "a", "2").into_value(), "two.yaml"),
        ];
        let message =
            Set::from_manifests(twice.into_iter().map(Result::unwrap)).unwrap_err().to_string();
        assert!(message.contains("ConfigMap a"), "{message}");
        assert!(message.contains("one.yaml") && message.contains("two.yaml"), "{message}");
    }

    #[test]
    fn files_are_named_after_their_objects_and_never_collide() {
        let long = "x".repeat(250);
        let set = Set::from_manifests([
            object("Service", Some("clinic-dev"), "odoo-web", ""),
            object("Service", Some("clinic"), "dev-odoo-web", ""),
            object("Role", None, "system:Reader_a", ""),
            object("Role", None, &format!("{long}a"), ""),
            object("Role", None, &format!("{long}b"), ""),
        ])
        .unwrap();
        let files = set.to_files();
        assert_eq!(files.len(), set.len());
        assert!(files.contains_key("service_clinic-dev_odoo-web.yaml"));
        assert!(files.contains_key("role_system=3a=52eader=5fa.yaml"));
        for name in files.keys() {
            assert!(name.len() <= 205 && !name.contains('/'), "{name}");
        }
        assert_eq!(Set::from_files(&files).unwrap(), set);
    }

    #[test]
    fn the_digest_is_fixed_by_its_definition() {
        let set = Set::from_manifests([object("ConfigMap", None, "a", "1")]).unwrap();
        let mut text = b"tidegate-manifests/v1\n".to_vec();
        let content = br#"{"apiVersion":"v1","data":{"text":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}"#;
        text.extend(format!("{{\"ConfigMap a\":\"{}\"}}", Digest::of(content)).bytes());
        assert_eq!(set.digest(), Digest::of(&text));
    }

    proptest! {
        #[test]
        fn files_give_the_set_back_and_order_never_matters(
            objects in prop::collection::btree_map(
                ("[A-Z][a-zA-Z]{0,3}", prop::option::of("[a-z]{1,3}"), "[a-zA-Z:._-]{1,6}x"),
                any::<String>(),
                0..8,
            )
        ) {
            let all: Vec<Manifest> = objects
                .iter()
                .map(|((kind, space, name), data)| object(kind, space.as_deref(), name, data))
                .collect();
            let set = Set::from_manifests(all.clone()).unwrap();
            let reversed = Set::from_manifests(all.into_iter().rev()).unwrap();
            prop_assert_eq!(set.digest(), reversed.digest());
            let files = set.to_files();
            prop_assert_eq!(files.len(), set.len());
            let read = Set::from_files(&files).unwrap();
            prop_assert_eq!(&read, &set);
            prop_assert_eq!(read.digest(), set.digest());
            prop_assert_eq!(read.to_files(), files);
        }
    }
}
