//! What waits for a Sync's task. Everything coalesces: the newest of each thing counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_cluster::Observed;
use tidegate_ids::ObjectId;
use tidegate_schemas::Sync;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Inbox {
    pending: Mutex<Pending>,
    notify: Notify,
}

/// What came since the last look.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) object: Option<Arc<Sync>>,
    pub(super) observed: BTreeMap<ObjectId, Observed>,
}

impl Inbox {
    /// The object is new. The task's own status writes come this way too and wake nobody.
    pub(super) fn put_object(&self, object: Arc<Sync>, news: bool) {
        self.pending().object = Some(object);
        if news {
            self.notify.notify_one();
        }
    }

    pub(super) fn put_observed(&self, observed: Observed) {
        self.pending().observed.insert(observed.object.clone(), observed);
        self.notify.notify_one();
    }

    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
