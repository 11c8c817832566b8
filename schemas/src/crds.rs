//! The CRDs, made from the types.
//!
//! A map whose keys are a type of their own, such as `EnvironmentName`, becomes
//! `patternProperties` in JSON Schema. Structural schemas forbid that, so it is
//! turned into `additionalProperties`: the API server then checks the values, and
//! the type checks the keys when the object is read.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

/// Every CRD of Tidegate, in the order of the model.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        crate::Repository::crd(),
        crate::Sync::crd(),
        crate::Pipeline::crd(),
        crate::EnvironmentClass::crd(),
        crate::Environment::crd(),
        crate::TrustPolicy::crd(),
        crate::Roster::crd(),
        crate::Release::crd(),
        crate::Promotion::crd(),
        crate::Approval::crd(),
    ];
    let schemas = crds
        .iter_mut()
        .flat_map(|crd| &mut crd.spec.versions)
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    schemas.for_each(make_structural);
    crds
}

fn make_structural(schema: &mut JSONSchemaProps) {
    if let Some(values) = schema.pattern_properties.take().and_then(|mut p| p.pop_first()) {
        schema.additional_properties = Some(JSONSchemaPropsOrBool::Schema(Box::new(values.1)));
    }
    schema.properties.iter_mut().flat_map(|inner| inner.values_mut()).for_each(make_structural);
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        make_structural(values);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        make_structural(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TIDEGATE_BLESS=1 cargo test -p tidegate-schemas` writes them anew.
    #[test]
    fn the_generated_crds_are_those_of_the_types() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        for crd in crds() {
            let file = folder.join(format!("{}.json", crd.spec.names.plural));
            let text = serde_json::to_string_pretty(&crd).unwrap() + "\n";
            if std::env::var_os("TIDEGATE_BLESS").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                kept == text,
                "{} is stale: run TIDEGATE_BLESS=1 cargo test -p tidegate-schemas",
                file.display()
            );
        }
    }
}
