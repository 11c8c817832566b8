//! One watch for each kind, on everything that carries the membership label, metadata only.
//!
//! A thousand Syncs of ten kinds cost ten watches. Secrets are the exception: even their metadata
//! may hold values (kubectl's last-applied annotation), so they are watched in each target by its
//! own deployer account. A watch that is forbidden, or whose kind went away, degrades that kind: the
//! reason can be read, and it is tried again with back-off.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tidegate_ids::{GroupKind, ObjectId};
use tidegate_plan::PART_OF;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::{Cluster, Deployer, Error, Fingerprint, Observed};

/// A kind, and the namespace where it is not watched everywhere.
type Key = (GroupKind, Option<String>);

/// An object of a kind: its namespace and name.
type Name = (Option<String>, String);

/// Objects, and the sets they belong to.
type Members = HashMap<Name, Arc<str>>;

/// All watches on one cluster. They end when it is dropped.
pub struct Watches {
    cluster: Cluster,
    out: mpsc::Sender<Observed>,
    running: Mutex<HashMap<Key, AbortHandle>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    members: Mutex<HashMap<Key, Members>>,
    degraded: Mutex<BTreeMap<GroupKind, String>>,
}

impl Watches {
    /// No watch yet; what they see goes to `out`.
    #[must_use]
    pub fn new(cluster: Cluster, out: mpsc::Sender<Observed>) -> Self {
        Self { cluster, out, running: Mutex::default(), shared: Arc::default() }
    }

    /// Starts the watch on a kind, if it does not run.
    ///
    /// # Errors
    /// When the cluster does not serve the kind.
    pub async fn ensure(
        &self,
        kind: &GroupKind,
        target: &str,
        deployer: &Deployer,
    ) -> Result<(), Error> {
        let secret = kind.group.is_empty() && kind.kind == "Secret";
        let key = (kind.clone(), secret.then(|| target.to_owned()));
        if self.running().contains_key(&key) {
            return Ok(());
        }
        let resource = self.cluster.resource(kind).await?;
        let mut running = self.running();
        if running.contains_key(&key) {
            return Ok(());
        }
        let client = if secret { deployer.client().clone() } else { self.cluster.client() };
        let api = metadata(client, &resource.api, key.1.as_deref());
        let (shared, out) = (Arc::clone(&self.shared), self.out.clone());
        let task = tokio::spawn(watch(key.clone(), api, shared, out));
        running.insert(key, task.abort_handle());
        Ok(())
    }

    /// The set that an object is seen to belong to.
    #[must_use]
    pub fn set_of(&self, id: &ObjectId) -> Option<Arc<str>> {
        let members = self.shared.members.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (id.namespace.clone(), id.name.clone());
        let everywhere = members.get(&(id.group_kind.clone(), None)).and_then(|m| m.get(&name));
        let here = members.get(&(id.group_kind.clone(), id.namespace.clone()));
        everywhere.or_else(|| here?.get(&name)).cloned()
    }

    /// The kinds whose changes are not seen now, and why.
    #[must_use]
    pub fn degraded(&self) -> BTreeMap<GroupKind, String> {
        self.shared.degraded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Key, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running().values().for_each(AbortHandle::abort);
    }
}

type Metadata = PartialObjectMeta<DynamicObject>;

fn metadata(
    client: Client,
    resource: &kube::core::ApiResource,
    namespace: Option<&str>,
) -> Api<Metadata> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

async fn watch(key: Key, api: Api<Metadata>, shared: Arc<Shared>, out: mpsc::Sender<Observed>) {
    let config = watcher::Config::default().labels(PART_OF);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listing = Members::new();
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(event) => absorb(&key, event, &mut listing, &shared),
            Err(error) => {
                degrade(&key.0, &error, &shared);
                continue;
            }
        };
        for observed in seen {
            if out.send(observed).await.is_err() {
                return;
            }
        }
    }
}

/// Takes in one event; what of it is news.
fn absorb(
    key: &Key,
    event: Event<Metadata>,
    listing: &mut Members,
    shared: &Shared,
) -> Vec<Observed> {
    let mut all = shared.members.lock().unwrap_or_else(PoisonError::into_inner);
    let members = all.entry(key.clone()).or_default();
    match event {
        Event::Init => {
            listing.clear();
            Vec::new()
        }
        Event::InitApply(object) => {
            let Some((name, set)) = membership(&object) else { return Vec::new() };
            listing.insert(name, set);
            appeared(&key.0, &object, members)
        }
        Event::InitDone => {
            shared.degraded.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.0);
            let before = std::mem::replace(members, std::mem::take(listing));
            let gone = before.into_iter().filter(|(name, _)| !members.contains_key(name));
            gone.map(|(name, set)| gone_from(&key.0, name, &set, String::new())).collect()
        }
        Event::Apply(object) => appeared(&key.0, &object, members),
        Event::Delete(object) => {
            let version = object.metadata.resource_version.clone().unwrap_or_default();
            let name = name_of(&object);
            let set = members.remove(&name);
            set.map(|set| gone_from(&key.0, name, &set, version)).into_iter().collect()
        }
    }
}

fn name_of(object: &Metadata) -> Name {
    (object.metadata.namespace.clone(), object.metadata.name.clone().unwrap_or_default())
}

fn membership(object: &Metadata) -> Option<(Name, Arc<str>)> {
    let set = object.metadata.labels.as_ref()?.get(PART_OF)?;
    Some((name_of(object), Arc::from(set.as_str())))
}

fn appeared(kind: &GroupKind, object: &Metadata, members: &mut Members) -> Vec<Observed> {
    let Some((name, set)) = membership(object) else { return Vec::new() };
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    let mut seen = Vec::new();
    let former = members.insert(name.clone(), Arc::clone(&set));
    if let Some(former) = former.filter(|former| *former != set) {
        seen.push(gone_from(kind, name.clone(), &former, version.clone()));
    }
    seen.push(Observed {
        applyset: set.to_string(),
        object: id(kind, name),
        version,
        fingerprint: Fingerprint::of_metadata(&object.metadata),
        gone: false,
    });
    seen
}

fn gone_from(kind: &GroupKind, name: Name, set: &str, version: String) -> Observed {
    Observed {
        applyset: set.to_owned(),
        object: id(kind, name),
        version,
        fingerprint: Fingerprint::default(),
        gone: true,
    }
}

fn id(kind: &GroupKind, (namespace, name): Name) -> ObjectId {
    ObjectId { group_kind: kind.clone(), namespace, name }
}

fn degrade(kind: &GroupKind, error: &watcher::Error, shared: &Shared) {
    let why = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            Error::of("watch", &format!("objects of the kind {kind}"), "", error).to_string()
        }
        // A watch that ends with "too old" starts anew and misses nothing.
        watcher::Error::WatchError(status) if status.code == 410 => return,
        other => other.to_string(),
    };
    tracing::warn!(%kind, why, "changes of this kind are not seen now");
    shared.degraded.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.clone(), why);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::ObjectMeta;

    fn object(name: &str, set: &str, version: &str) -> Metadata {
        PartialObjectMeta {
            types: None,
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("clinic".into()),
                resource_version: Some(version.into()),
                labels: Some([(PART_OF.to_owned(), set.to_owned())].into()),
                ..ObjectMeta::default()
            },
            _phantom: std::marker::PhantomData,
        }
    }

    fn names(seen: &[Observed]) -> Vec<(&str, bool)> {
        seen.iter().map(|o| (o.object.name.as_str(), o.gone)).collect()
    }

    #[test]
    fn what_went_while_the_watch_was_down_shows_after_the_next_list() {
        let key = (GroupKind::new("", "ConfigMap"), None);
        let (shared, mut listing) = (Shared::default(), Members::new());
        let mut absorb = |event| absorb(&key, event, &mut listing, &shared);
        absorb(Event::Init);
        absorb(Event::InitApply(object("a", "one", "1")));
        absorb(Event::InitApply(object("b", "one", "2")));
        assert_eq!(names(&absorb(Event::InitDone)), []);
        absorb(Event::Init);
        assert_eq!(names(&absorb(Event::InitApply(object("b", "one", "2")))), [("b", false)]);
        assert_eq!(names(&absorb(Event::InitDone)), [("a", true)]);
    }

    #[test]
    fn an_object_that_another_set_takes_over_is_gone_from_the_former() {
        let key = (GroupKind::new("", "ConfigMap"), None);
        let (shared, mut listing) = (Shared::default(), Members::new());
        let mut absorb = |event| absorb(&key, event, &mut listing, &shared);
        absorb(Event::Apply(object("a", "one", "1")));
        let seen = absorb(Event::Apply(object("a", "two", "2")));
        let sets: Vec<_> = seen.iter().map(|o| (o.applyset.as_str(), o.gone)).collect();
        assert_eq!(sets, [("one", true), ("two", false)]);
    }
}
