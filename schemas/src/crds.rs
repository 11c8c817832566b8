//! The CRDs, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every CRD of Tidegate, in the order of the model.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
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
    ]
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
