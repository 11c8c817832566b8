//! Trust policies from files, as the API server would take them.
//!
//! A misspelled field would ask for less than its author meant, so what the schema does not have
//! is refused here, where the API server would only warn.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;
use serde_json::Value;
use tidegate_schemas::TrustPolicy;

/// A policy from its document.
///
/// # Errors
/// When it has no name, a field that there is not, or one that does not have its form.
pub fn policy(value: Value) -> Result<TrustPolicy, String> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err("a TrustPolicy has no metadata.name: give it one".to_owned());
    }
    let crd = TrustPolicy::crd();
    let schema = crd.spec.versions.iter().find_map(|version| {
        version.schema.as_ref()?.open_api_v3_schema.as_ref()?.properties.as_ref()?.get("spec")
    });
    if let Some(field) = schema.and_then(|schema| unknown(&value["spec"], schema, "spec")) {
        return Err(format!(
            "TrustPolicy {name}: there is no field {field}, so it would ask for nothing; correct or remove it (kubectl explain trustpolicy.spec)"
        ));
    }
    serde_json::from_value(value).map_err(|error| format!("TrustPolicy {name}: {error}"))
}

/// The path of the first field that the schema does not have.
fn unknown(value: &Value, schema: &JSONSchemaProps, at: &str) -> Option<String> {
    match (value, &schema.properties, &schema.items) {
        (Value::Object(fields), Some(known), _) => fields.iter().find_map(|(name, inner)| {
            let at = format!("{at}.{name}");
            match known.get(name) {
                Some(schema) => unknown(inner, schema, &at),
                None => Some(at),
            }
        }),
        (Value::Array(items), _, Some(JSONSchemaPropsOrArray::Schema(schema))) => items
            .iter()
            .enumerate()
            .find_map(|(index, inner)| unknown(inner, schema, &format!("{at}[{index}]"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
apiVersion: tidegate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: hospital}
spec:
  images: [registry.example.com/hospital/*]
  require: [{anyOf: [{key: {secret: release, log: none}}]}]
";

    fn read(text: &str) -> Result<TrustPolicy, String> {
        policy(tidegate_manifest::documents(text.as_bytes(), "p.yaml").unwrap().remove(0))
    }

    #[test]
    fn a_field_that_there_is_not_is_refused_since_it_would_ask_for_nothing() {
        assert_eq!(read(GOOD).unwrap().metadata.name.as_deref(), Some("hospital"));
        for (text, words) in [
            (GOOD.replace("require:", "requires:"), "there is no field spec.requires"),
            (
                GOOD.replace("log: none", "Log: none"),
                "there is no field spec.require[0].anyOf[0].key.Log",
            ),
            (GOOD.replace("name: hospital", "labels: {}"), "no metadata.name"),
            (GOOD.replace("log: none", "log: never"), "unknown variant"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
