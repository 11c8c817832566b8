//! Everything the engine knows of the cluster: one watched store for each kind.
//!
//! Passes read from here and never ask the API server; a change of any object
//! wakes the pipelines that it concerns.

use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tidegate_schemas::admission::PIPELINE_LABEL;
use tidegate_schemas::{
    Approval, Effective, Environment, EnvironmentClass, Pipeline, Promotion, Release, Roster, Sync,
    TrustPolicy,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// A pipeline: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for PipelineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// One pipeline.
    Pipeline(PipelineKey),
    /// Every pipeline of a namespace.
    Namespace(String),
    /// Every pipeline.
    All,
}

impl Wake {
    /// Whether it concerns this pipeline.
    #[must_use]
    pub fn concerns(&self, key: &PipelineKey) -> bool {
        match self {
            Self::Pipeline(other) => other == key,
            Self::Namespace(namespace) => *namespace == key.namespace,
            Self::All => true,
        }
    }
}

/// The stores.
#[derive(Clone)]
pub struct World {
    /// Pipelines.
    pub pipelines: Store<Pipeline>,
    /// Environments.
    pub environments: Store<Environment>,
    /// Classes.
    pub classes: Store<EnvironmentClass>,
    /// Trust policies.
    pub trust: Store<TrustPolicy>,
    /// Rosters.
    pub rosters: Store<Roster>,
    /// Releases.
    pub releases: Store<Release>,
    /// Promotions.
    pub promotions: Store<Promotion>,
    /// Approvals.
    pub approvals: Store<Approval>,
    /// Syncs.
    pub syncs: Store<Sync>,
}

impl World {
    /// Starts every watch and waits until each has its first list.
    pub async fn start(
        client: &Client,
        wakes: &UnboundedSender<Wake>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let by_pipeline = |ns: Option<String>, name: &str| {
            Wake::Pipeline(PipelineKey { namespace: ns.unwrap_or_default(), name: name.to_owned() })
        };
        let world = Self {
            pipelines: watch(client, wakes, tasks, move |p: &Pipeline| {
                by_pipeline(ResourceExt::namespace(p), &p.name_any())
            }),
            environments: watch(client, wakes, tasks, move |e: &Environment| {
                by_pipeline(ResourceExt::namespace(e), e.spec.pipeline.as_str())
            }),
            classes: watch(client, wakes, tasks, |_: &EnvironmentClass| Wake::All),
            trust: watch(client, wakes, tasks, |_: &TrustPolicy| Wake::All),
            rosters: watch(client, wakes, tasks, |_: &Roster| Wake::All),
            releases: watch(client, wakes, tasks, move |r: &Release| {
                by_pipeline(ResourceExt::namespace(r), r.spec.pipeline.as_str())
            }),
            promotions: watch(client, wakes, tasks, move |p: &Promotion| {
                by_pipeline(ResourceExt::namespace(p), p.spec.pipeline.as_str())
            }),
            approvals: watch(client, wakes, tasks, |a: &Approval| {
                Wake::Namespace(ResourceExt::namespace(a).unwrap_or_default())
            }),
            syncs: watch(client, wakes, tasks, move |s: &Sync| {
                by_pipeline(
                    ResourceExt::namespace(s),
                    s.labels().get(PIPELINE_LABEL).map_or("", String::as_str),
                )
            }),
        };
        world.ready().await;
        world
    }

    /// Waits until every store has its first list. A watch that cannot start keeps trying, so this
    /// lasts as long as the API server is away.
    async fn ready(&self) {
        let _ended = futures::join!(
            self.pipelines.wait_until_ready(),
            self.environments.wait_until_ready(),
            self.classes.wait_until_ready(),
            self.trust.wait_until_ready(),
            self.rosters.wait_until_ready(),
            self.releases.wait_until_ready(),
            self.promotions.wait_until_ready(),
            self.approvals.wait_until_ready(),
            self.syncs.wait_until_ready(),
        );
    }

    /// One pipeline.
    #[must_use]
    pub fn pipeline(&self, key: &PipelineKey) -> Option<Arc<Pipeline>> {
        self.pipelines.find(|p| is(p, &key.namespace, &key.name))
    }

    /// One Sync.
    #[must_use]
    pub fn sync(&self, namespace: &str, name: &str) -> Option<Arc<Sync>> {
        self.syncs.find(|s| is(s, namespace, name))
    }

    /// One release.
    #[must_use]
    pub fn release(&self, namespace: &str, name: &str) -> Option<Arc<Release>> {
        self.releases.find(|r| is(r, namespace, name))
    }

    /// The promotions of a pipeline, oldest first.
    #[must_use]
    pub fn promotions_of(&self, key: &PipelineKey) -> Vec<Arc<Promotion>> {
        let mut found = self.promotions.state();
        found.retain(|p| {
            p.metadata.namespace.as_deref() == Some(&key.namespace)
                && p.spec.pipeline.as_str() == key.name
        });
        found.sort_by_key(|p| (p.creation_timestamp(), crate::names::number(&p.name_any())));
        found
    }

    /// The effective pipeline, without the environments that lack something, and one sentence for
    /// each thing that is missing.
    ///
    /// # Errors
    /// When nothing of the pipeline can be delivered.
    pub fn effective(&self, pipeline: &Pipeline) -> Result<(Effective, Vec<String>), Vec<String>> {
        if let Some(why) = self.taken(pipeline) {
            return Err(vec![why]);
        }
        let namespace = pipeline.metadata.namespace.clone();
        let environments: Vec<Environment> = self
            .environments
            .state()
            .iter()
            .filter(|e| e.metadata.namespace == namespace)
            .map(|e| e.as_ref().clone())
            .collect();
        let classes: Vec<EnvironmentClass> =
            self.classes.state().iter().map(|c| c.as_ref().clone()).collect();
        tidegate_schemas::present(pipeline, &environments, &classes)
    }

    /// Deployer accounts carry the pipeline's name and no namespace: of two pipelines of one name,
    /// the older one has them.
    fn taken(&self, pipeline: &Pipeline) -> Option<String> {
        let age = |p: &Pipeline| (p.creation_timestamp(), ResourceExt::uid(p));
        let older = self.pipelines.find(|other| {
            other.metadata.name == pipeline.metadata.name
                && other.metadata.namespace != pipeline.metadata.namespace
                && age(other) < age(pipeline)
        })?;
        Some(format!(
            "the Pipeline {} of the namespace {} is older and has this name, and with it the deployer accounts: give this one another name",
            older.name_any(),
            older.metadata.namespace.as_deref().unwrap_or_default()
        ))
    }

    /// Everybody in every Roster.
    #[must_use]
    pub fn people(&self) -> tidegate_gates::People {
        tidegate_gates::People::new(self.rosters.state().iter().map(|r| &r.spec))
    }
}

fn is<K: Resource>(object: &K, namespace: &str, name: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace)
        && object.meta().name.as_deref() == Some(name)
}

fn watch<K>(
    client: &Client,
    wakes: &UnboundedSender<Wake>,
    tasks: &mut JoinSet<()>,
    concerns: impl Fn(&K) -> Wake + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + std::marker::Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let api: Api<K> = Api::all(client.clone());
    let wakes = wakes.clone();
    tasks.spawn(async move {
        let mut events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer).boxed();
        while let Some(event) = events.next().await {
            let object = match event {
                Ok(watcher::Event::Apply(o) | watcher::Event::InitApply(o) | watcher::Event::Delete(o)) => o,
                Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
                Err(error) => {
                    tracing::warn!(kind = %<K as Resource>::kind(&()), %error, "watching Tidegate objects failed; it is tried again");
                    continue;
                }
            };
            let _engine_stops = wakes.send(concerns(&object));
        }
    });
    store
}
