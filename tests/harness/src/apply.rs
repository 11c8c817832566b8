//! Applying objects of any kind as the cluster's administrator.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde_json::Value;

use crate::Lab;
use crate::error::LabError;
use crate::kubernetes::apart;

const MANAGER: &str = "lab";

impl Lab {
    /// Applies objects (server-side, strictly validated) as the administrator, Namespaces first.
    ///
    /// # Errors
    /// When the API server refuses one; the error names it.
    pub fn apply(&self, objects: &[Value]) -> Result<(), LabError> {
        self.apply_with(objects, &PatchParams::apply(MANAGER).force().validation_strict())
    }

    /// As [`Lab::apply`], but nothing is kept.
    ///
    /// # Errors
    /// When the API server would refuse one; the error names it.
    pub fn would_accept(&self, objects: &[Value]) -> Result<(), LabError> {
        let params = PatchParams::apply(MANAGER).force().validation_strict().dry_run();
        self.apply_with(objects, &params)
    }

    fn apply_with(&self, objects: &[Value], params: &PatchParams) -> Result<(), LabError> {
        let mut objects: Vec<&Value> = objects.iter().collect();
        objects.sort_by_key(|object| object["kind"] != "Namespace");
        let kubeconfig = self.kubeconfig();
        apart(async {
            let client = Self::client(&kubeconfig).await?;
            for object in objects {
                one(&client, object, params).await?;
            }
            Ok(())
        })
    }
}

async fn one(client: &kube::Client, object: &Value, params: &PatchParams) -> Result<(), LabError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let doing = format!("applying the {} {name}", text("kind"));
    let failed = |error: kube::Error| LabError::cluster(doing.clone(), error);
    let (group, version) = text("apiVersion").rsplit_once('/').unwrap_or(("", text("apiVersion")));
    let kind = GroupVersionKind::gvk(group, version, text("kind"));
    let (resource, capabilities) = pinned_kind(client, &kind).await.map_err(failed)?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    api.patch(name, params, &Patch::Apply(object)).await.map_err(failed)?;
    Ok(())
}
