//! Which Syncs have looked at their target since this process began.
//!
//! A Sync's status outlives the process that wrote it. Whoever decides on health must know whether
//! it was seen by now, or by somebody who may have died long ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

/// A Sync, by namespace and name.
type SyncName = (String, String);

/// The Syncs that have looked. Cheap to clone.
#[derive(Clone)]
pub struct Looked {
    syncs: Arc<Mutex<HashMap<SyncName, u64>>>,
    news: broadcast::Sender<SyncName>,
}

impl Default for Looked {
    fn default() -> Self {
        Self { syncs: Arc::default(), news: broadcast::channel(1024).0 }
    }
}

impl Looked {
    /// The version of the Sync whose status tells what it saw when it first looked; none before that.
    #[must_use]
    pub fn version(&self, namespace: &str, name: &str) -> Option<u64> {
        let syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        syncs.get(&(namespace.to_owned(), name.to_owned())).copied()
    }

    /// Tells of each Sync when it has looked for the first time.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SyncName> {
        self.news.subscribe()
    }

    /// Notes the first look; later ones change nothing.
    pub(crate) fn mark(&self, namespace: &str, name: &str, version: u64) {
        let sync = (namespace.to_owned(), name.to_owned());
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        if !syncs.contains_key(&sync) {
            syncs.insert(sync.clone(), version);
            // No receiver is no error: nobody decides on it.
            let _ = self.news.send(sync);
        }
    }
}
