//! The task of one Sync: wake, look, do, tell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use tidegate_cluster::Deployer;
use tidegate_schemas::{Cause, Sync};

use super::Engine;
use super::inbox::{Inbox, Pending};
use super::state::State;

/// Between two steps of one Sync: events come in bursts, and one look serves them all.
const BREATH: Duration = Duration::from_millis(30);

/// One Sync at work.
pub(super) struct Actor {
    pub(super) engine: Arc<Engine>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: State,
}

pub(super) async fn run(engine: Arc<Engine>, object: Arc<Sync>, inbox: Arc<Inbox>) {
    let mut actor = Box::new(Actor {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        engine,
        state: State::new(object),
    });
    loop {
        let engine = Arc::clone(&actor.engine);
        let next = {
            let Ok(_slot) = engine.slots.acquire().await else { return };
            Box::pin(actor.step(inbox.take())).await
        };
        tokio::time::sleep(BREATH).await;
        match next {
            Some(at) => {
                let _timer = tokio::time::timeout_at(at.into(), inbox.woken()).await;
            }
            None => inbox.woken().await,
        }
    }
}

impl Actor {
    pub(super) fn deployer(&self) -> Deployer {
        self.engine.cluster.as_deployer(&self.state.object.spec.account)
    }

    /// One look at everything that may have changed. Returns when to look again by itself.
    async fn step(&mut self, pending: Pending) -> Option<Instant> {
        if let Some(object) = pending.object {
            self.state.adopt(object);
        }
        self.state.observed.extend(pending.observed);
        self.state.expire();
        if self.state.object.spec.suspend {
            self.report().await;
            return self.state.write_retry.not_before;
        }
        self.follow_branch().await;
        self.pass().await;
        self.correct_drift().await;
        self.look_at_health().await;
        let deadline = self.report().await;
        self.say_that_it_looked();
        self.state.next_wake(deadline)
    }

    /// Once what runs was compared and judged, and the status says so.
    fn say_that_it_looked(&self) {
        let state = &self.state;
        let unable = state.failure.as_ref().is_some_and(|f| f.cause == Cause::Cluster);
        let tried = state.status.accepted.is_none() || state.attempt.is_some();
        let settled = tried && !unable && state.mirror.is_some() && state.waiting.is_none();
        if !settled || state.write_retry.holds() || state.drift_retry.holds() {
            return;
        }
        let version = state.object.metadata.resource_version.as_ref();
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.engine.looked.mark(&self.namespace, &self.name, version);
        }
    }
}
