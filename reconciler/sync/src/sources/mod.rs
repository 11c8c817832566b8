//! All Repositories: their mirrors, heads and webhooks, shared by Syncs and Pipelines.

mod repository;
mod status;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tidegate_cluster::{Announcer, Cluster};
use tidegate_schemas::{Repository, RepositorySpec};
use tidegate_source::{Heads, Limits, Mirror, Mirrors};
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;

use crate::{Error, scope};

/// How many changes may wait for a slow subscriber; one that is slower looks at everything.
const BACKLOG: usize = 1024;

/// A Repository, by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl RepositoryKey {
    /// What `name` or `namespace/name` means in a namespace.
    #[must_use]
    pub fn stated(from: &str, reference: &str) -> Self {
        let (namespace, name) = reference.split_once('/').unwrap_or((from, reference));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of(repository: &Repository) -> Self {
        Self { namespace: repository.namespace().unwrap_or_default(), name: repository.name_any() }
    }
}

impl std::fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Repository that can be read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Which.
    pub key: RepositoryKey,
    /// What it says.
    pub spec: Arc<RepositorySpec>,
    /// Its mirror, fetched at least once.
    pub mirror: Arc<Mirror>,
}

/// Why a Repository cannot be read from here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is none, or it may not be used from this namespace. The two are one answer, so that
    /// nobody learns what other namespaces hold.
    #[error(
        "there is no Repository {0} that the namespace {1} may use: create it, correct the name, or list {1} in its spec.allow"
    )]
    Unknown(RepositoryKey, String),
    /// It was not fetched yet.
    #[error("Repository {0} was not fetched yet")]
    NotFetched(RepositoryKey),
    /// It could not be fetched since the engine started.
    #[error("Repository {key} cannot be read: {why}")]
    Unreadable {
        /// Which.
        key: RepositoryKey,
        /// What its condition says.
        why: String,
    },
}

/// What [`Sources`] are started with.
pub struct SourceOptions {
    /// Where the mirrors are; it belongs to them alone and may be emptied while nobody uses it.
    pub folder: PathBuf,
    /// The limits of mirrors.
    pub limits: Limits,
    /// The only namespaces whose Repositories are followed; empty for all.
    pub scope: Vec<String>,
    /// Repositories are polled no more often than this, whatever they say.
    pub min_interval: Duration,
}

/// All Repositories. Cheap to clone; [`Sources::run`] brings it to life.
#[derive(Clone)]
pub struct Sources {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    announcer: Announcer,
    mirrors: Mirrors,
    scope: Vec<String>,
    min_interval: Duration,
    known: Mutex<HashMap<RepositoryKey, Known>>,
    changes: broadcast::Sender<RepositoryKey>,
}

/// What is known of one Repository. Its task writes `mirror`, `heads`, `problem` and `hook`.
struct Known {
    object: Arc<Repository>,
    spec: Arc<RepositorySpec>,
    wake: Arc<Notify>,
    task: AbortHandle,
    mirror: Option<Arc<Mirror>>,
    heads: Option<Heads>,
    problem: Option<String>,
    hook: Option<Hook>,
}

#[derive(Clone, PartialEq, Eq)]
struct Hook {
    path: String,
    token: String,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sources {
    /// Knows no Repository before [`Sources::run`].
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(cluster: Cluster, options: SourceOptions) -> Result<Self, Error> {
        let announcer = Announcer::new(&cluster, "tidegate-repository");
        let inner = Inner {
            cluster,
            announcer,
            mirrors: Mirrors::new(options.folder, options.limits)?,
            scope: options.scope,
            min_interval: options.min_interval,
            known: Mutex::default(),
            changes: broadcast::channel(BACKLOG).0,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Follows the Repositories, until it is dropped.
    pub async fn run(&self) {
        let _ended = Ended(self);
        let mut events = scope::watch::<Repository>(&self.inner.cluster, &self.inner.scope);
        let mut all_listed: HashMap<Option<String>, Vec<RepositoryKey>> = HashMap::new();
        while let Some((scope, event)) = events.next().await {
            let listed = all_listed.entry(scope.clone()).or_default();
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(repository)) => {
                    listed.push(RepositoryKey::of(&repository));
                    self.learn(repository);
                }
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(listed);
                    let elsewhere =
                        |key: &RepositoryKey| scope.as_ref().is_some_and(|s| *s != key.namespace);
                    self.known().retain(|key, _| elsewhere(key) || listed.contains(key));
                }
                Ok(Event::Apply(repository)) => self.learn(repository),
                Ok(Event::Delete(repository)) => {
                    let key = RepositoryKey::of(&repository);
                    self.known().remove(&key);
                    self.changed(&key);
                }
                Err(error) => tracing::warn!(%error, "Repositories cannot be watched now"),
            }
        }
    }

    /// Takes in an object; wakes its task when the spec is new.
    fn learn(&self, repository: Repository) {
        let key = RepositoryKey::of(&repository);
        let mut known = self.known();
        if let Some(entry) = known.get_mut(&key)
            && entry.object.metadata.uid == repository.metadata.uid
        {
            let new_spec = *entry.spec != repository.spec;
            if new_spec {
                entry.spec = Arc::new(repository.spec.clone());
                entry.wake.notify_one();
            }
            entry.object = Arc::new(repository);
            return;
        }
        let wake = Arc::new(Notify::new());
        let task = repository::follow(self.clone(), key.clone(), Arc::clone(&wake));
        let entry = Known {
            spec: Arc::new(repository.spec.clone()),
            object: Arc::new(repository),
            wake,
            task: tokio::spawn(task).abort_handle(),
            mirror: None,
            heads: None,
            problem: None,
            hook: None,
        };
        known.insert(key, entry);
    }

    /// Tells which Repository changed: its heads, or whether it can be read. Whoever falls behind
    /// (`Lagged`) should look at all.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RepositoryKey> {
        self.inner.changes.subscribe()
    }

    /// The Repository that `name` or `namespace/name` means in the namespace `from`, if it may be
    /// used from there.
    ///
    /// # Errors
    /// [`SourceError`], in words for the one who wrote the reference.
    pub fn resolve(&self, from: &str, reference: &str) -> Result<Source, SourceError> {
        let key = RepositoryKey::stated(from, reference);
        let known = self.known();
        let entry = known.get(&key).filter(|entry| {
            key.namespace == from || entry.spec.allow.iter().any(|allowed| allowed == from)
        });
        let Some(entry) = entry else { return Err(SourceError::Unknown(key, from.to_owned())) };
        match (&entry.mirror, &entry.heads, &entry.problem) {
            (Some(mirror), Some(_), _) => {
                Ok(Source { spec: Arc::clone(&entry.spec), mirror: Arc::clone(mirror), key })
            }
            (_, _, Some(why)) => Err(SourceError::Unreadable { key, why: why.clone() }),
            _ => Err(SourceError::NotFetched(key)),
        }
    }

    /// The heads of a Repository, as last seen.
    #[must_use]
    pub fn heads(&self, key: &RepositoryKey) -> Option<Heads> {
        self.known().get(key)?.mirror.as_ref().map(|mirror| mirror.heads())
    }

    /// The mirror of a Repository, once it was fetched.
    #[must_use]
    pub fn mirror(&self, key: &RepositoryKey) -> Option<Arc<Mirror>> {
        let known = self.known();
        let entry = known.get(key)?;
        entry.heads.as_ref().and(entry.mirror.clone())
    }

    /// Fetches soon: somebody says that there is news. Many nudges are one fetch.
    pub fn nudge(&self, key: &RepositoryKey) {
        if let Some(entry) = self.known().get(key) {
            entry.wake.notify_one();
        }
    }

    /// Tells the subscribers that the engine itself pushed to a Repository: its mirror knows the new
    /// head already. A fetch follows.
    pub fn pushed(&self, key: &RepositoryKey) {
        self.changed(key);
        self.nudge(key);
    }

    /// The Repository whose webhook has this path (the part behind `/hooks/`), and the secret that
    /// signs its calls.
    #[must_use]
    pub fn hook(&self, path: &str) -> Option<(RepositoryKey, String)> {
        self.known().iter().find_map(|(key, entry)| {
            let hook = entry.hook.as_ref().filter(|hook| hook.path == path)?;
            Some((key.clone(), hook.token.clone()))
        })
    }

    fn changed(&self, key: &RepositoryKey) {
        // No receiver is no error: nobody uses it yet.
        let _ = self.inner.changes.send(key.clone());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RepositoryKey, Known>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the tasks with [`Sources::run`].
struct Ended<'a>(&'a Sources);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.known().clear();
    }
}
