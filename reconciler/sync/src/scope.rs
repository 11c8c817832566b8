//! Watches on our own kinds, in some namespaces or in all.

use std::fmt::Debug;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, select_all};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tidegate_cluster::Cluster;

/// An event, and the namespace of the watch that it came from; none for the watch on all.
type Scoped<K> = (Option<String>, watcher::Result<Event<K>>);

/// Watches a kind in these namespaces; in all of them where none is named.
pub(crate) fn watch<K>(
    cluster: &Cluster,
    scope: &[String],
) -> SelectAll<BoxStream<'static, Scoped<K>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let one = |namespace: Option<String>| {
        let api: Api<K> = match &namespace {
            Some(namespace) => Api::namespaced(cluster.client(), namespace),
            None => Api::all(cluster.client()),
        };
        let events = watcher(api, watcher::Config::default()).default_backoff();
        events.map(move |event| (namespace.clone(), event)).boxed()
    };
    if scope.is_empty() {
        return select_all([one(None)]);
    }
    select_all(scope.iter().cloned().map(|namespace| one(Some(namespace))))
}
