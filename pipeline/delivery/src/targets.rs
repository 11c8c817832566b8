//! Target namespaces as they are watched: pods, cut down to what says which images they run,
//! the list of verified images, and the namespace's labels.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tidegate_schemas::admission::VERIFIED_IMAGES;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::verified::{Listed, read};

/// How long a look waits for the first list of a watch.
const FIRST_LIST: Duration = Duration::from_secs(3);

/// A target namespace as it is now.
pub struct Target {
    /// Its pods; none where they are not known.
    pub pods: Option<Vec<Arc<Pod>>>,
    /// The list of verified images as it stands there.
    pub listed: Listed,
    /// The namespace's labels; none where it is not there, or not known.
    pub labels: Option<BTreeMap<String, String>>,
}

struct Watched {
    pods: Store<Pod>,
    lists: Store<ConfigMap>,
    namespaces: Store<Namespace>,
    _watches: JoinSet<()>,
    now: Target,
}

/// The target namespaces of a pipeline.
pub struct Targets {
    client: Client,
    notify: Arc<Notify>,
    watched: HashMap<String, Watched>,
}

impl Targets {
    /// Tells `notify` of every change.
    #[must_use]
    pub fn new(client: &Client, notify: Arc<Notify>) -> Self {
        Self { client: client.clone(), notify, watched: HashMap::new() }
    }

    /// Forgets every other namespace.
    pub fn only<'a>(&mut self, namespaces: impl Iterator<Item = &'a str>) {
        let wanted: Vec<&str> = namespaces.collect();
        self.watched.retain(|name, _| wanted.contains(&name.as_str()));
    }

    /// A namespace as it is now; it is watched from then on.
    pub async fn of(&mut self, namespace: &str) -> &Target {
        let (client, notify) = (&self.client, &self.notify);
        let watched = self
            .watched
            .entry(namespace.to_owned())
            .or_insert_with(|| Watched::start(client, notify, namespace));
        watched.read().await
    }
}

impl Watched {
    fn start(client: &Client, notify: &Arc<Notify>, namespace: &str) -> Self {
        let mut watches = JoinSet::new();
        let named =
            |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let inside = || Api::namespaced(client.clone(), namespace);
        let lists = Api::namespaced(client.clone(), namespace);
        Self {
            pods: watch(inside(), watcher::Config::default(), cut, notify, &mut watches),
            lists: watch(lists, named(VERIFIED_IMAGES), |_| {}, notify, &mut watches),
            namespaces: watch(
                Api::all(client.clone()),
                named(namespace),
                |_| {},
                notify,
                &mut watches,
            ),
            _watches: watches,
            now: Target { pods: None, listed: Listed::new(), labels: None },
        }
    }

    async fn read(&mut self) -> &Target {
        let ready = async {
            let _ended = futures::join!(
                self.pods.wait_until_ready(),
                self.lists.wait_until_ready(),
                self.namespaces.wait_until_ready()
            );
        };
        let known = tokio::time::timeout(FIRST_LIST, ready).await.is_ok();
        let list = self.lists.state().first().and_then(|list| list.data.clone());
        let namespace = self.namespaces.state().first().cloned();
        self.now = Target {
            pods: known.then(|| self.pods.state()),
            listed: list.as_ref().map(read).unwrap_or_default(),
            labels: namespace
                .map(|n| n.metadata.labels.clone().unwrap_or_default())
                .or_else(|| known.then(BTreeMap::new)),
        };
        &self.now
    }
}

/// What is not needed to tell which images a pod runs and who made it.
fn cut(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    pod.metadata.labels = None;
    if let Some(spec) = &mut pod.spec {
        let containers = std::mem::take(&mut spec.containers);
        let bare = |image: Option<String>, name: String| k8s_openapi::api::core::v1::Container {
            name,
            image,
            ..Default::default()
        };
        spec.containers = containers.into_iter().map(|c| bare(c.image, c.name)).collect();
        let init = spec.init_containers.take().unwrap_or_default();
        spec.init_containers = Some(init.into_iter().map(|c| bare(c.image, c.name)).collect());
        for volume in spec.volumes.iter_mut().flatten() {
            volume.projected = None;
            volume.config_map = None;
        }
    }
    if let Some(status) = &mut pod.status {
        status.conditions = None;
    }
}

fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    cut: fn(&mut K),
    notify: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let notify = notify.clone();
    tasks.spawn(async move {
        let mut events =
            watcher(api, config).default_backoff().modify(cut).reflect(writer).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => notify.notify_one(),
                Err(error) => {
                    tracing::warn!(kind = %<K as Resource>::kind(&()), %error, "watching a target namespace failed; it is tried again");
                }
            }
        }
    });
    store
}
