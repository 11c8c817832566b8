//! Writing the status: once for a change, never for none.

use std::sync::Arc;

use kube::{Api, Resource as _};
use tidegate_cluster::{Severity, Written, replace_status};
use tidegate_schemas::{Sync, SyncStatus, condition};

use super::actor::Actor;

const TRIES: usize = 3;

impl Actor {
    /// Writes the status if it differs from what is written. What fails is tried again later.
    pub(super) async fn write(&mut self) {
        self.state.write_retry.reset();
        if self.state.object.status.as_ref() == Some(&self.state.status) {
            return;
        }
        let told = turned(self.state.object.status.as_ref(), &self.state.status);
        let mut next = Sync::clone(&self.state.object);
        for _ in 0..TRIES {
            next.status = Some(self.state.status.clone());
            match replace_status(&self.engine.cluster, &next).await {
                Ok(Written::Done(mut written)) => {
                    // What the server made of the times is not news.
                    written.status.clone_from(&next.status);
                    self.keep(*written);
                    if let Some((severity, reason, note)) = told {
                        let about = self.state.object.object_ref(&());
                        self.engine.announcer.announce(&about, severity, &reason, &note).await;
                    }
                    return;
                }
                Ok(Written::Gone) => return,
                Ok(Written::Conflict) => {}
                Err(error) => {
                    tracing::warn!(sync = %self.name, %error, "the status could not be written");
                    break;
                }
            }
            let api = Api::<Sync>::namespaced(self.engine.cluster.client(), &self.namespace);
            match api.get(&self.name).await {
                Ok(newest) if newest.metadata.uid == next.metadata.uid => next = newest,
                _ => return,
            }
        }
        self.state.write_retry.later();
    }

    /// Keeps what was written, but no newer spec: that one arrives by the watch and wakes the task.
    fn keep(&mut self, written: Sync) {
        let spec = self.state.object.spec.clone();
        let generation = self.state.object.metadata.generation;
        let mut object = written;
        object.spec = spec;
        object.metadata.generation = generation;
        self.state.object = Arc::new(object);
    }
}

/// The Event that the step from one status to the next is worth.
fn turned(before: Option<&SyncStatus>, after: &SyncStatus) -> Option<(Severity, String, String)> {
    let ready = condition(&after.conditions, "Ready")?;
    let former = before.and_then(|status| condition(&status.conditions, "Ready"));
    if former.is_some_and(|f| f.status == ready.status && f.reason == ready.reason) {
        return None;
    }
    // A refused head has an Event of its own.
    let severity = match (ready.status.as_str(), ready.reason.as_str()) {
        (_, "HeadRefused") => return None,
        ("True", _) | (_, "Reconciling" | "Progressing" | "Waiting" | "Suspended") => {
            Severity::Normal
        }
        _ => Severity::Warning,
    };
    Some((severity, ready.reason.clone(), ready.message.clone()))
}
