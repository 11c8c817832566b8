//! The Sync controller: which Syncs there are, and what wakes them.

mod actor;
mod desired;
mod drift;
mod head;
mod inbox;
mod pass;
mod prune;
mod report;
mod state;
mod workloads;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tidegate_cluster::{Announcer, Cluster, Observed, Watches};
use tidegate_plan::Parent;
use tidegate_render::Renderer;
use tidegate_schemas::Sync;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::{Error, Looked, RepositoryKey, Sources, scope};
use inbox::Inbox;

/// How many watch events may wait to be handed out.
const BACKLOG: usize = 1024;

/// What the Sync controller is started with.
pub struct Options {
    /// The cluster of the Syncs, which is also their target.
    pub cluster: Cluster,
    /// The Repositories, which run by themselves ([`Sources::run`]).
    pub sources: Sources,
    /// The render workers.
    pub renderer: Arc<Renderer>,
    /// The only namespaces whose Syncs are followed; empty for all.
    pub scope: Vec<String>,
    /// How many Syncs may work at the same time; 32 is right.
    pub concurrency: usize,
    /// Where each Sync says that it has looked.
    pub looked: Looked,
}

/// What every Sync works with.
struct Engine {
    cluster: Cluster,
    sources: Sources,
    renderer: Arc<Renderer>,
    watches: Watches,
    announcer: Announcer,
    /// The uid of this cluster.
    hub: String,
    slots: Semaphore,
    looked: Looked,
}

/// A Sync, by namespace and name.
type SyncKey = (String, String);

/// A Sync's task and how to reach it.
struct Handle {
    inbox: Arc<Inbox>,
    task: AbortHandle,
    uid: Option<String>,
    generation: Option<i64>,
    repository: RepositoryKey,
    applyset: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows the Syncs, until it is dropped. Whatever it does at that instant is gone on with by the
/// next one.
///
/// # Errors
/// When the cluster cannot be read at the start.
pub async fn run(options: Options) -> Result<(), Error> {
    let (out, mut observed) = mpsc::channel(BACKLOG);
    let engine = Arc::new(Engine {
        hub: options.cluster.uid().await?,
        watches: Watches::new(options.cluster.clone(), out),
        announcer: Announcer::new(&options.cluster, "tidegate-sync"),
        slots: Semaphore::new(options.concurrency.max(1)),
        cluster: options.cluster,
        sources: options.sources,
        renderer: options.renderer,
        looked: options.looked,
    });
    let mut repositories = engine.sources.subscribe();
    let mut events = scope::watch::<Sync>(&engine.cluster, &options.scope);
    let mut index = Index::new(engine);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some((scope, Ok(event))) => index.absorb(scope.as_deref(), event),
                Some((_, Err(error))) => tracing::warn!(%error, "Syncs cannot be watched now"),
                None => return Ok(()),
            },
            changed = repositories.recv() => match changed {
                Ok(key) => index.heads_moved(Some(&key)),
                Err(RecvError::Lagged(_)) => index.heads_moved(None),
                Err(RecvError::Closed) => return Ok(()),
            },
            Some(observed) = observed.recv() => index.hand_out(&observed),
        }
    }
}

/// Which Syncs there are, and which sets are whose.
struct Index {
    engine: Arc<Engine>,
    syncs: HashMap<SyncKey, Handle>,
    sets: HashMap<String, Vec<SyncKey>>,
    listed: HashMap<Option<String>, Vec<SyncKey>>,
}

impl Index {
    fn new(engine: Arc<Engine>) -> Self {
        Self { engine, syncs: HashMap::new(), sets: HashMap::new(), listed: HashMap::new() }
    }

    /// Takes in an event of the watch on one namespace, or on all.
    fn absorb(&mut self, scope: Option<&str>, event: Event<Sync>) {
        let listed = self.listed.entry(scope.map(str::to_owned)).or_default();
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(sync) => {
                listed.push(key_of(&sync));
                self.learn(sync);
            }
            Event::InitDone => {
                let listed = std::mem::take(listed);
                let elsewhere = |key: &SyncKey| scope.is_some_and(|scope| scope != key.0);
                self.syncs.retain(|key, _| elsewhere(key) || listed.contains(key));
                self.index_sets();
            }
            Event::Apply(sync) => self.learn(sync),
            Event::Delete(sync) => {
                self.syncs.remove(&key_of(&sync));
                self.index_sets();
            }
        }
    }

    fn learn(&mut self, sync: Sync) {
        let key = key_of(&sync);
        let repository = RepositoryKey::stated(&key.0, &sync.spec.source.repository);
        let target = &sync.spec.target.namespace;
        let applyset = Parent::new(target, &key.0, &key.1, "").applyset();
        let (uid, generation) = (sync.metadata.uid.clone(), sync.metadata.generation);
        let sync = Arc::new(sync);
        if let Some(handle) = self.syncs.get_mut(&key).filter(|h| h.uid == uid) {
            let moved = handle.applyset != applyset;
            handle.repository = repository;
            handle.applyset = applyset;
            let news = handle.generation != generation;
            handle.generation = generation;
            handle.inbox.put_object(sync, news);
            if moved {
                self.index_sets();
            }
            return;
        }
        let inbox = Arc::new(Inbox::default());
        let task = actor::run(Arc::clone(&self.engine), sync, Arc::clone(&inbox));
        let task = tokio::spawn(task).abort_handle();
        self.sets.entry(applyset.clone()).or_default().push(key.clone());
        self.syncs.insert(key, Handle { inbox, task, uid, generation, repository, applyset });
    }

    fn index_sets(&mut self) {
        self.sets.clear();
        for (key, handle) in &self.syncs {
            self.sets.entry(handle.applyset.clone()).or_default().push(key.clone());
        }
    }

    /// Wakes the Syncs of a Repository; all of them where it is not known which moved.
    fn heads_moved(&self, repository: Option<&RepositoryKey>) {
        for handle in self.syncs.values() {
            if repository.is_none_or(|key| *key == handle.repository) {
                handle.inbox.wake();
            }
        }
    }

    fn hand_out(&self, observed: &Observed) {
        for key in self.sets.get(&observed.applyset).into_iter().flatten() {
            if let Some(handle) = self.syncs.get(key) {
                handle.inbox.put_observed(observed.clone());
            }
        }
    }
}

fn key_of(sync: &Sync) -> SyncKey {
    (sync.namespace().unwrap_or_default(), sync.name_any())
}
