//! Where an object differs from what applying the manifest again would make of it, and who wrote
//! what differs. Pointers only: no value leaves this module, since objects may be Secrets.

use serde_json::{Map, Value};
use tidegate_schemas::FIELD_MANAGER;

/// Parts of an object that are observed and not stated.
const OBSERVED: [&str; 5] = [
    "/metadata/managedFields",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/status",
];

/// The JSON pointers (RFC 6901) at which two states of one object differ.
#[must_use]
pub fn differences(live: &Value, wanted: &Value) -> Vec<String> {
    let observed = |pointer: &String| {
        OBSERVED.iter().any(|part| {
            pointer.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let patch = json_patch::diff(live, wanted);
    patch.iter().map(|change| change.path().to_string()).filter(|p| !observed(p)).collect()
}

/// Whether a `managedFields` entry is the one of our applies.
pub(crate) fn is_ours(entry: &Value) -> bool {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    text("manager") == FIELD_MANAGER
        && text("operation") == "Apply"
        && text("subresource").is_empty()
}

/// The field manager that last wrote one of these fields, as it named itself; nothing vouches for
/// the name. None where nobody owns them, as when they were removed.
#[must_use]
pub fn writer(live: &Value, pointers: &[String]) -> Option<String> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array)?;
    entries
        .iter()
        .filter(|entry| !is_ours(entry))
        .filter(|entry| {
            let fields = entry.get("fieldsV1").and_then(Value::as_object);
            fields.is_some_and(|fields| pointers.iter().any(|p| owns(fields, live, p)))
        })
        .max_by_key(|entry| entry.get("time").and_then(Value::as_str).unwrap_or_default())
        .and_then(|entry| Some(entry.get("manager")?.as_str()?.to_owned()))
}

/// Whether a set of fields (structured-merge-diff's `FieldsV1`) holds what the pointer leads to, or
/// something below it.
fn owns(fields: &Map<String, Value>, live: &Value, pointer: &str) -> bool {
    let (mut fields, mut value) = (fields, live);
    for segment in pointer.split('/').skip(1) {
        // A field without parts is owned as a whole: a leaf, or an atomic list or map.
        if fields.is_empty() {
            return true;
        }
        let name = segment.replace("~1", "/").replace("~0", "~");
        let (next_value, next_fields) = match value {
            Value::Array(items) => {
                let item = segment.parse::<usize>().ok().and_then(|index| items.get(index));
                (item, item.and_then(|item| part_of_list(fields, item)))
            }
            other => (other.get(&name), fields.get(&format!("f:{name}"))),
        };
        let Some(Value::Object(next)) = next_fields else { return false };
        fields = next;
        value = next_value.unwrap_or(&Value::Null);
    }
    true
}

/// The part of a list's fields that speaks of this item: `k:{"name":"web"}` or `v:"value"`.
fn part_of_list<'a>(fields: &'a Map<String, Value>, item: &Value) -> Option<&'a Value> {
    fields.iter().find_map(|(key, part)| {
        let matches = if let Some(keys) = key.strip_prefix("k:") {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            keys.iter().all(|(key, value)| item.get(key) == Some(value))
        } else {
            let value: Value = serde_json::from_str(key.strip_prefix("v:")?).ok()?;
            value == *item
        };
        matches.then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_told_by_where_they_are() {
        let live = json!({"metadata": {"resourceVersion": "2", "labels": {"a/b": "x"}},
            "spec": {"replicas": 3, "list": [{"name": "web", "image": "one"}], "gone": 1}, "status": {"n": 1}});
        let wanted = json!({"metadata": {"resourceVersion": "1", "labels": {"a/b": "y"}},
            "spec": {"replicas": 3, "list": [{"name": "web", "image": "two"}], "new": [1]}, "status": {"n": 2}});
        let mut found = differences(&live, &wanted);
        found.sort();
        assert_eq!(
            found,
            ["/metadata/labels/a~1b", "/spec/gone", "/spec/list/0/image", "/spec/new"]
        );
        assert!(differences(&live, &live).is_empty());
    }

    fn edited() -> Value {
        json!({"spec": {"replicas": 5, "containers": [{"name": "sidecar"}, {"name": "web", "image": "x"}]},
            "metadata": {"managedFields": [
                {"manager": "tidegate", "operation": "Apply", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z",
                 "fieldsV1": {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}},
                {"manager": "older", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}})
    }

    #[test]
    fn the_last_other_manager_of_a_field_is_its_writer() {
        let writer = |pointer: &str| writer(&edited(), &[pointer.to_owned()]);
        assert_eq!(writer("/spec/replicas").as_deref(), Some("kubectl-edit"));
        assert_eq!(writer("/spec/containers/1/image").as_deref(), Some("kubectl-edit"));
        assert_eq!(writer("/spec/containers/0/image"), None);
        assert_eq!(writer("/metadata/labels/app"), None);
    }
}
