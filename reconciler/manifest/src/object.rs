//! One Kubernetes object as stated in a file.
//!
//! Only what a person can state is kept: `status` and a null creation timestamp
//! (which generators leave behind) are dropped, fields that only the API server
//! may set are refused, because applying them fails or acts as a precondition
//! that nobody meant.

use crate::{Error, scope, write};
use serde_json::{Map, Value};
use tidegate_ids::{Digest, GroupKind, ObjectId, canonical_json};

/// Fields of `metadata` that the API server sets.
const SERVER_SET: [&str; 6] =
    ["uid", "resourceVersion", "managedFields", "generation", "selfLink", "deletionTimestamp"];

/// The longest mapping key as written: YAML 1.1 and 1.2 allow 1024 characters.
const MAX_KEY: usize = 1000;

/// One object: its identity, its version and its content.
#[derive(Debug, Clone)]
pub struct Manifest {
    id: ObjectId,
    api_version: String,
    origin: String,
    value: Value,
    digest: Digest,
}

/// Equal when the content is: where it was read from does not count.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.value == other.value
    }
}

impl Eq for Manifest {}

impl Manifest {
    /// An object from its value; `origin` is the file that errors name.
    ///
    /// # Errors
    /// When kind, name or apiVersion is missing or malformed, `generateName` is
    /// used, a field is set that only the API server may set, or a label or
    /// annotation is not a string.
    pub fn from_value(value: Value, origin: &str) -> Result<Self, Error> {
        let Value::Object(mut object) = value else {
            return Err(wrong(origin, "a document", "is not a mapping with apiVersion and kind"));
        };
        let api_version = required(&object, "apiVersion", origin, "an object")?;
        let kind = required(&object, "kind", origin, "an object")?;
        let group = match api_version.split_once('/') {
            Some((group, version)) if !group.is_empty() && !version.is_empty() => group,
            None => "",
            Some(_) => {
                let why =
                    format!("has the apiVersion {api_version:?}: it looks like v1 or apps/v1");
                return Err(wrong(origin, &kind, &why));
            }
        };
        if !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong(origin, &format!("kind {kind:?}"), "is not letters and digits"));
        }
        object.remove("status");
        let (name, namespace) = metadata(&mut object, &kind, origin)?;
        let id = ObjectId { group_kind: GroupKind::new(group, kind), namespace, name };
        let mut value = Value::Object(object);
        normalise(&mut value).map_err(|why| wrong(origin, &id.to_string(), &why))?;
        let digest = digest_of(&value, origin, &id)?;
        Ok(Self { id, api_version, origin: origin.to_owned(), value, digest })
    }

    /// Which object it is.
    #[must_use]
    pub const fn id(&self) -> &ObjectId {
        &self.id
    }

    /// Group and version as stated, such as `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// The file it was read from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The content.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The content, given away.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of the content.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// Deterministic YAML of the content.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        write::to_yaml(&self.value)
    }

    /// Places the object: a namespaced object that states no namespace gets the
    /// target's, a cluster-scoped one loses a namespace that was written into it
    /// (as kubectl ignores it). `is_namespaced` is what discovery or a schema
    /// knows; where it knows nothing, [`scope::is_namespaced`] decides.
    ///
    /// # Errors
    /// When the object states another namespace than the target's.
    pub fn scope_to(
        &mut self,
        target: &str,
        is_namespaced: impl Fn(&GroupKind) -> Option<bool>,
    ) -> Result<(), Error> {
        let kind = &self.id.group_kind;
        if !is_namespaced(kind).unwrap_or_else(|| scope::is_namespaced(kind)) {
            return if self.id.namespace.is_some() { self.set_namespace(None) } else { Ok(()) };
        }
        match &self.id.namespace {
            None => self.set_namespace(Some(target)),
            Some(stated) if stated == target => Ok(()),
            Some(stated) => Err(Error::ForeignNamespace {
                object: Box::new(self.id.clone()),
                origin: self.origin.clone(),
                stated: stated.clone(),
                target: target.to_owned(),
            }),
        }
    }

    fn set_namespace(&mut self, namespace: Option<&str>) -> Result<(), Error> {
        if let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut) {
            match namespace {
                Some(name) => metadata.insert("namespace".to_owned(), Value::from(name)),
                None => metadata.remove("namespace"),
            };
        }
        self.id.namespace = namespace.map(str::to_owned);
        self.digest = digest_of(&self.value, &self.origin, &self.id)?;
        Ok(())
    }

    /// Replaces the string at a JSON pointer; nothing happens where there is none.
    pub(crate) fn replace_string(&mut self, pointer: &str, text: &str) -> Result<(), Error> {
        if let Some(place) = self.value.pointer_mut(pointer) {
            *place = Value::from(text);
            self.digest = digest_of(&self.value, &self.origin, &self.id)?;
        }
        Ok(())
    }
}

fn wrong(origin: &str, what: &str, why: &str) -> Error {
    Error::Object { origin: origin.to_owned(), what: what.to_owned(), why: why.to_owned() }
}

fn required(
    object: &Map<String, Value>,
    field: &str,
    origin: &str,
    what: &str,
) -> Result<String, Error> {
    match object.get(field).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong(origin, what, &format!("has no {field}: state it as a string"))),
    }
}

/// Checks and cleans `metadata`; name and namespace.
fn metadata(
    object: &mut Map<String, Value>,
    kind: &str,
    origin: &str,
) -> Result<(String, Option<String>), Error> {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(wrong(origin, &format!("a {kind}"), "has no metadata: state metadata.name"));
    };
    let name = match metadata.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ if metadata.contains_key("generateName") => {
            let why = "uses generateName: an object that Git states needs a fixed metadata.name";
            return Err(wrong(origin, &format!("a {kind}"), why));
        }
        _ => {
            let why = "has no metadata.name: state it as a string (quote a number)";
            return Err(wrong(origin, &format!("a {kind}"), why));
        }
    };
    let what = format!("{kind} {name:?}");
    path_segment("metadata.name", &name).map_err(|why| wrong(origin, &what, &why))?;
    metadata.remove("generateName");
    if metadata.get("creationTimestamp") == Some(&Value::Null) {
        metadata.remove("creationTimestamp");
    }
    for field in SERVER_SET.into_iter().chain(["creationTimestamp"]) {
        if metadata.contains_key(field) {
            let why = format!("states metadata.{field}, which only the API server sets: remove it");
            return Err(wrong(origin, &what, &why));
        }
    }
    for field in ["labels", "annotations"] {
        strings(metadata, field).map_err(|why| wrong(origin, &what, &why))?;
    }
    let namespace = match metadata.get("namespace") {
        None => None,
        Some(Value::Null) => {
            metadata.remove("namespace");
            None
        }
        Some(Value::String(text)) if text.is_empty() => {
            metadata.remove("namespace");
            None
        }
        Some(Value::String(text)) => {
            path_segment("metadata.namespace", text).map_err(|why| wrong(origin, &what, &why))?;
            Some(text.clone())
        }
        Some(_) => return Err(wrong(origin, &what, "has a metadata.namespace that is no string")),
    };
    Ok((name, namespace))
}

/// Names of Kubernetes objects are path segments (apimachinery, `IsValidPathSegmentName`).
fn path_segment(field: &str, text: &str) -> Result<(), String> {
    let odd = |c: char| c == '/' || c == '%' || c.is_whitespace() || c.is_control();
    if text.len() > 253 || text == "." || text == ".." || text.contains(odd) {
        return Err(format!(
            "has a {field} that cannot be one: up to 253 characters, no spaces, no '/' and no '%'"
        ));
    }
    Ok(())
}

fn strings(metadata: &mut Map<String, Value>, field: &str) -> Result<(), String> {
    match metadata.get(field) {
        None => Ok(()),
        Some(Value::Null) => {
            metadata.remove(field);
            Ok(())
        }
        Some(Value::Object(entries)) => match entries.iter().find(|(_, v)| !v.is_string()) {
            None => Ok(()),
            Some((key, value)) => Err(format!(
                "has the value {value} in metadata.{field} {key:?}, which must be a string: quote it"
            )),
        },
        Some(_) => Err(format!("has metadata.{field} that are not a mapping of strings")),
    }
}

/// Makes equal content equal bytes: a whole number written as a float becomes an
/// integer. Refuses what would not survive: integers beyond 2^53, which canonical
/// JSON (RFC 8785) rounds, so that two contents would share one digest, and keys
/// too long to be written as simple keys.
fn normalise(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Object(entries) => entries.iter_mut().try_for_each(|(key, value)| {
            if write::key(key).chars().count() > MAX_KEY {
                let start: String = key.chars().take(40).collect();
                return Err(format!(
                    "has a key of more than {MAX_KEY} characters, starting {start:?}: shorten it"
                ));
            }
            normalise(value)
        }),
        Value::Array(items) => items.iter_mut().try_for_each(normalise),
        Value::Number(number) => {
            if let Some(whole) = exact_integer(number)? {
                *value = Value::from(whole);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The integer that a number is, if it is one.
fn exact_integer(number: &serde_json::Number) -> Result<Option<i64>, String> {
    const EXACT: u64 = 1 << 53;
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if whole.unsigned_abs() <= EXACT => Ok(Some(whole)),
        _ if !number.is_f64() => Err(format!(
            "has the number {number}, which is beyond 2^53 and not kept exactly: quote it, or use a unit such as Gi"
        )),
        #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        (_, Some(float)) if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 => {
            Ok(Some(float as i64))
        }
        _ => Ok(None),
    }
}

fn digest_of(value: &Value, origin: &str, id: &ObjectId) -> Result<Digest, Error> {
    let bytes = canonical_json(value).map_err(|error| {
        wrong(origin, &id.to_string(), &format!("has no canonical JSON form: {error}"))
    })?;
    Ok(Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(value: Value) -> String {
        Manifest::from_value(value, "app/web.yaml").unwrap_err().to_string()
    }

    #[test]
    fn an_object_is_known_by_group_kind_namespace_and_name() {
        let web = Manifest::from_value(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 1},
                   "metadata": {"name": "web", "namespace": "clinic-dev", "creationTimestamp": null}}),
            "web.yaml",
        )
        .unwrap();
        assert_eq!(web.id().to_string(), "Deployment.apps clinic-dev/web");
        assert_eq!(web.api_version(), "apps/v1");
        assert_eq!(
            web.value(),
            &json!({"apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": "web", "namespace": "clinic-dev"}})
        );
    }

    #[test]
    fn what_makes_no_object_is_refused_with_the_way_out() {
        let meta =
            |metadata: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
        for (value, says) in [
            (json!([1]), "not a mapping"),
            (json!({"kind": "Pod"}), "no apiVersion"),
            (json!({"apiVersion": "v1"}), "no kind"),
            (json!({"apiVersion": "/v1", "kind": "Pod"}), "looks like v1 or apps/v1"),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "no metadata"),
            (meta(json!({"labels": {}})), "no metadata.name"),
            (meta(json!({"name": 17})), "quote a number"),
            (meta(json!({"generateName": "a-"})), "generateName"),
            (meta(json!({"name": "../etc"})), "cannot be one"),
            (meta(json!({"name": "a", "uid": "x"})), "metadata.uid"),
            (meta(json!({"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"})), "API server"),
            (meta(json!({"name": "a", "labels": {"version": 17}})), "quote it"),
        ] {
            let message = refusal(value);
            assert!(message.contains(says), "{message:?} does not say {says:?}");
            assert!(message.contains("app/web.yaml"), "{message:?} does not name the file");
        }
    }

    #[test]
    fn the_target_namespace_is_put_where_none_is_stated_and_another_is_refused() {
        let object = |kind: &str, metadata: Value| {
            Manifest::from_value(
                json!({"apiVersion": "v1", "kind": kind, "metadata": metadata}),
                "x.yaml",
            )
            .unwrap()
        };
        let mut service = object("Service", json!({"name": "web"}));
        let before = service.digest();
        service.scope_to("clinic-dev", |_| None).unwrap();
        assert_eq!(service.id().namespace.as_deref(), Some("clinic-dev"));
        assert_eq!(service.value()["metadata"]["namespace"], "clinic-dev");
        assert_ne!(service.digest(), before);

        let mut space = object("Namespace", json!({"name": "clinic-dev", "namespace": "x"}));
        space.scope_to("clinic-dev", |_| None).unwrap();
        assert_eq!(space.id().to_string(), "Namespace clinic-dev");

        let mut foreign = object("Service", json!({"name": "web", "namespace": "kube-system"}));
        let message = foreign.scope_to("clinic-dev", |_| None).unwrap_err().to_string();
        assert!(message.contains("states the namespace kube-system"), "{message}");
    }

    #[test]
    fn equal_numbers_are_equal_content_and_inexact_ones_are_refused() {
        let with = |n: Value| {
            let value = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "n": n});
            Manifest::from_value(value, "x")
        };
        assert_eq!(with(json!(1.0)), with(json!(1)));
        assert_eq!(with(json!(-0.0)), with(json!(0)));
        assert_eq!(with(json!(1.0)).unwrap().to_yaml(), with(json!(1)).unwrap().to_yaml());
        assert!(with(json!(1u64 << 53)).is_ok());
        assert!(with(json!(1e300)).is_ok());
        for n in [json!(9_007_199_254_740_993u64), json!(i64::MIN), json!(u64::MAX)] {
            assert!(with(n).unwrap_err().to_string().contains("beyond 2^53"));
        }
    }
}
