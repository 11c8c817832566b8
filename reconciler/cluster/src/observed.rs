//! What a watch tells about an object, in a few bytes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kube::core::ObjectMeta;
use serde_json::Value;
use tidegate_ids::ObjectId;

/// One object that belongs to a set changed, appeared or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The set's id, as its label says.
    pub applyset: String,
    /// The object.
    pub object: ObjectId,
    /// Its version and shape.
    pub version: String,
    /// What of it is stated rather than observed.
    pub fingerprint: Fingerprint,
    /// Whether it was deleted, or lost the label.
    pub gone: bool,
}

/// A hash over what people state about an object: generation, labels, annotations. While it stays,
/// only the status moved. Kinds without a generation have none: everything about them is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint(Option<u64>);

impl Fingerprint {
    /// Of an object's metadata.
    #[must_use]
    pub fn of_metadata(metadata: &ObjectMeta) -> Self {
        let Some(generation) = metadata.generation else { return Self(None) };
        let mut hash = DefaultHasher::new();
        generation.hash(&mut hash);
        for map in [&metadata.labels, &metadata.annotations] {
            map.iter().flatten().for_each(|entry| entry.hash(&mut hash));
            0xff_u8.hash(&mut hash);
        }
        Self(Some(hash.finish()))
    }

    /// Of an object as the API server returns it.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        serde_json::from_value(metadata).map_or(Self(None), |m| Self::of_metadata(&m))
    }

    /// Whether nothing stated changed between the two.
    #[must_use]
    pub fn same_as(self, other: Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}
