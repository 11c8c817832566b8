//! How much is asked of one host at a time.
//!
//! A release of two hundred images is verified at once. Its registry sees a bounded number of
//! requests under way; the others wait here for their turn, which their deadline does not count.
//! Each turn ends within a deadline, so waiting ends, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests to one host that are under way at the same time.
pub(crate) const AT_ONCE: usize = 16;
/// Hosts that are remembered; with more, those that nobody asks are dropped.
const HOSTS: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    /// Waits until the host may be asked. The turn ends when what is given is dropped.
    pub(crate) async fn take(&self, host: String) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() >= HOSTS {
                hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let turns = hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
            Arc::clone(turns)
        };
        // Never closed, so there is always a turn.
        turns.acquire_owned().await.ok()
    }
}
