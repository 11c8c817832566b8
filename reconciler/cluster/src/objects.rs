//! What a deployer does with objects: get, apply, delete, list.
//!
//! Every call has a deadline. Objects are plain JSON values: they are compared, judged and dropped.

use std::time::{Duration, Instant};

use http::Request as HttpRequest;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use serde_json::Value;
use tidegate_ids::{GroupKind, ObjectId};
use tidegate_manifest::Manifest;
use tidegate_schemas::FIELD_MANAGER;

use crate::discovery::collection;
use crate::{Deployer, Error};

const DEADLINE: Duration = Duration::from_secs(30);

impl Deployer {
    /// An object as it is; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, id: &ObjectId) -> Result<Option<Value>, Error> {
        self.get_as(id, None).await
    }

    /// The object that a manifest states, as it is, in the version that the manifest is written in;
    /// `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn live(&self, manifest: &Manifest) -> Result<Option<Value>, Error> {
        self.get_as(manifest.id(), Some(manifest.api_version())).await
    }

    async fn get_as(&self, id: &ObjectId, version: Option<&str>) -> Result<Option<Value>, Error> {
        let resource = self.discovery.resolve(&id.group_kind).await?;
        let request =
            Request::new(collection(&resource, id, version)).get(&id.name, &GetParams::default());
        match self.send("read", &id.to_string(), "", request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an object what the manifest states (server-side apply). Fields that others own and the
    /// manifest states are taken over; unknown fields are refused. Returns the object as it is then.
    ///
    /// # Errors
    /// Whatever the API server refuses.
    pub async fn apply(&self, manifest: &Manifest) -> Result<Value, Error> {
        self.patch("apply", manifest, false).await
    }

    /// What [`Deployer::apply`] would make of the object; nothing changes.
    ///
    /// # Errors
    /// As for [`Deployer::apply`].
    pub async fn dry_run(&self, manifest: &Manifest) -> Result<Value, Error> {
        self.patch("compare", manifest, true).await
    }

    async fn patch(
        &self,
        doing: &'static str,
        manifest: &Manifest,
        dry: bool,
    ) -> Result<Value, Error> {
        let id = manifest.id();
        let resource = self.discovery.resolve(&id.group_kind).await?;
        let mut params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
        params.dry_run = dry;
        let path = collection(&resource, id, Some(manifest.api_version()));
        let request = Request::new(path).patch(&id.name, &params, &Patch::Apply(manifest.value()));
        match self.send(doing, &id.to_string(), manifest.origin(), request).await {
            // Applying creates what is not there: only the kind or version can be missing.
            Err(error) if error.is_not_found() => {
                self.discovery.refresh(Instant::now()).await?;
                Err(Error::UnknownVersion {
                    kind: id.group_kind.clone(),
                    api_version: manifest.api_version().to_owned(),
                })
            }
            outcome => outcome,
        }
    }

    /// Deletes exactly this object: another one of its name, or a changed one, is left alone
    /// ([`Error::Conflict`]). One that is gone is a success.
    ///
    /// # Errors
    /// Whatever the API server refuses.
    pub async fn delete(
        &self,
        id: &ObjectId,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), Error> {
        let resource = self.discovery.resolve(&id.group_kind).await?;
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(resource_version.to_owned()),
        });
        let request = Request::new(collection(&resource, id, None)).delete(&id.name, &params);
        match self.send("delete", &id.to_string(), "", request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The objects of a kind that a label selector selects in a namespace; at most `limit`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(
        &self,
        kind: &GroupKind,
        namespace: &str,
        selector: &str,
        limit: u32,
    ) -> Result<Vec<Value>, Error> {
        let resource = self.discovery.resolve(kind).await?;
        let params = ListParams::default().labels(selector).limit(limit);
        let request = Request::new(resource.path(Some(namespace), None)).list(&params);
        let what = format!("the {} of {namespace}", resource.api.plural);
        let mut list = self.send("list", &what, "", request).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    async fn send(
        &self,
        doing: &'static str,
        what: &str,
        origin: &str,
        request: Result<HttpRequest<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Error> {
        let request = request
            .map_err(|error| Error::of(doing, what, origin, &kube::Error::BuildRequest(error)))?;
        let answer = self.client().request::<Value>(request);
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::of(doing, what, origin, &error)),
            Err(_) => Err(Error::late(doing, what, DEADLINE.as_secs())),
        }
    }
}
