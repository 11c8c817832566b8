//! Writing status: compare-and-swap by `resourceVersion`, a conflict being a value.

use std::fmt::Debug;

use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Cluster, Error};

/// How a status write ended.
#[derive(Debug)]
pub enum Written<K> {
    /// It is written; the object as it is now.
    Done(Box<K>),
    /// Somebody wrote first: read again, decide again.
    Conflict,
    /// The object is gone.
    Gone,
}

/// Replaces the status of an object that carries its `resourceVersion`.
///
/// # Errors
/// Whatever else the API server refuses.
pub async fn replace_status<K>(cluster: &Cluster, object: &K) -> Result<Written<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api = Api::<K>::namespaced(cluster.client(), &namespace);
    match api.replace_status(&name, &PostParams::default(), object).await {
        Ok(written) => Ok(Written::Done(Box::new(written))),
        Err(error) => {
            let what = format!("the status of {} {namespace}/{name}", K::kind(&()));
            match Error::of("write", &what, "", &error) {
                Error::Conflict { .. } => Ok(Written::Conflict),
                Error::NotFound { .. } => Ok(Written::Gone),
                other => Err(other),
            }
        }
    }
}
