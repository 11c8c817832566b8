//! Whether one object may be deleted, seen as it is.
//!
//! Labels are copied: services copy theirs to `EndpointSlice`s, people copy them anywhere. An object
//! is ours only if our own field manager owns its membership label.

use serde_json::Value;

use crate::PART_OF;

/// The annotation that keeps an object: `disabled`.
pub const PRUNE: &str = "tidegate.dev/prune";

/// What may become of an object that Git no longer states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prunable {
    /// Delete exactly this one.
    Delete {
        /// Its uid.
        uid: String,
        /// Its version.
        resource_version: String,
    },
    /// It is being deleted already: wait.
    Going,
    /// Somebody asked to keep it.
    Kept,
    /// It is not ours.
    NotOurs,
}

/// What may become of this object.
#[must_use]
pub fn prunable(live: &Value, applyset: &str) -> Prunable {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let labelled = live.pointer("/metadata/labels").and_then(|l| l.get(PART_OF));
    if labelled.and_then(Value::as_str) != Some(applyset) || !owns_label(live) {
        return Prunable::NotOurs;
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        return Prunable::Going;
    }
    let keep = live.pointer("/metadata/annotations").and_then(|a| a.get(PRUNE));
    if keep.and_then(Value::as_str) == Some("disabled") {
        return Prunable::Kept;
    }
    Prunable::Delete {
        uid: text("/metadata/uid").to_owned(),
        resource_version: text("/metadata/resourceVersion").to_owned(),
    }
}

fn owns_label(live: &Value) -> bool {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().filter(|entry| crate::difference::is_ours(entry)).any(|entry| {
        let labels = entry.pointer("/fieldsV1/f:metadata/f:labels");
        labels.is_some_and(|labels| labels.get(format!("f:{PART_OF}")).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidegate_schemas::FIELD_MANAGER;

    fn live(manager: &str) -> Value {
        json!({"metadata": {"uid": "u", "resourceVersion": "7", "labels": {PART_OF: "set"},
            "managedFields": [{"manager": manager, "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:labels": {format!("f:{PART_OF}"): {}}}}}]}})
    }

    #[test]
    fn only_what_our_manager_made_a_member_may_be_deleted() {
        let expected = Prunable::Delete { uid: "u".into(), resource_version: "7".into() };
        assert_eq!(prunable(&live(FIELD_MANAGER), "set"), expected);
        assert_eq!(prunable(&live("kubectl"), "set"), Prunable::NotOurs);
        assert_eq!(prunable(&live(FIELD_MANAGER), "other"), Prunable::NotOurs);
    }

    #[test]
    fn an_annotation_keeps_an_object() {
        let mut kept = live(FIELD_MANAGER);
        kept["metadata"]["annotations"] = json!({PRUNE: "disabled"});
        assert_eq!(prunable(&kept, "set"), Prunable::Kept);
    }
}
