//! The health of what was applied: by events of the watches, and by looking at pods while a
//! workload is not healthy, since pods carry no label of ours and say nothing by themselves.

use std::time::Instant;

use serde_json::Value;
use tidegate_cluster::Deployer;
use tidegate_health::{Judgement, Related, judge, looks_at_pods, pod_selector, says_something};
use tidegate_ids::{GroupKind, ObjectId};
use tidegate_schemas::Health;

use super::actor::Actor;
use super::state::{FIRST_LOOK, LONGEST_LOOK};
use crate::clock;

/// How many pods of one workload are looked at.
const MOST_PODS: u32 = 500;

impl Actor {
    /// Judges an object by itself, as the API server just returned it.
    pub(super) fn note_health(&mut self, id: &ObjectId, live: &Value) {
        let mut judgement = judge(live, &Related::default(), clock::now());
        let former = self.state.health.get(id);
        if looks_at_pods(&id.group_kind) {
            // What its pods said counts until they are looked at again.
            if let Some(former) = former.filter(|f| f.state == Health::Failed) {
                judgement = former.clone();
                self.state.unsure.insert(id.clone());
            } else if judgement.state != Health::Healthy {
                self.look_soon();
            }
        }
        self.state.health.insert(id.clone(), judgement);
    }

    fn look_soon(&mut self) {
        self.state.look_pause = FIRST_LOOK;
        let at = Instant::now() + FIRST_LOOK;
        self.state.look_again = Some(self.state.look_again.map_or(at, |other| other.min(at)));
    }

    /// Looks at the objects that events told of, and again at workloads that are not healthy.
    pub(super) async fn look_at_health(&mut self) {
        if self.state.look_again.is_some_and(|at| at <= Instant::now()) {
            self.state.look_again = None;
            let again = self.state.health.iter().filter(|(id, judgement)| {
                judgement.recheck.is_some()
                    || (judgement.state != Health::Healthy && says_something(&id.group_kind))
            });
            let again: Vec<ObjectId> = again.map(|(id, _)| id.clone()).collect();
            self.state.unsure.extend(again);
        }
        let mut news = false;
        for id in std::mem::take(&mut self.state.unsure) {
            let stated = self.state.desired.as_ref().is_some_and(|d| d.set.get(&id).is_some());
            if !stated || (!says_something(&id.group_kind) && self.state.health.contains_key(&id)) {
                continue;
            }
            let deployer = self.deployer();
            let former = self.state.health.get(&id).map(|judgement| judgement.state);
            match look(&deployer, &id, former).await {
                Ok(judgement) => {
                    news |= former != Some(judgement.state);
                    self.state.health.insert(id, judgement);
                }
                Err(error) => {
                    tracing::warn!(object = %id, %error, "health could not be looked at");
                    let message = format!("its health cannot be told: {error}");
                    let unknown = Judgement { state: Health::Unknown, message, recheck: None };
                    self.state.health.insert(id, unknown);
                }
            }
        }
        self.plan_next_look(news);
    }

    fn plan_next_look(&mut self, news: bool) {
        let state = &mut self.state;
        let pods = |id: &ObjectId| looks_at_pods(&id.group_kind);
        let unhealthy = state.health.iter().any(|(id, judgement)| {
            judgement.state == Health::Unknown || (judgement.state != Health::Healthy && pods(id))
        });
        let now = clock::now();
        let recheck = state.health.values().filter_map(|judgement| judgement.recheck).min();
        let recheck = recheck.map(|at| {
            let wait = std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Instant::now() + wait.max(FIRST_LOOK)
        });
        if !unhealthy {
            state.look_pause = FIRST_LOOK;
            state.look_again = recheck;
            return;
        }
        if news {
            state.look_pause = FIRST_LOOK;
        }
        if state.look_again.is_none() {
            state.look_again = Some(Instant::now() + state.look_pause);
            state.look_pause = (state.look_pause * 2).min(LONGEST_LOOK);
        }
        if let (Some(next), Some(recheck)) = (state.look_again, recheck) {
            state.look_again = Some(next.min(recheck));
        }
    }
}

/// Reads an object and, where it may be in trouble, its pods.
async fn look(
    deployer: &Deployer,
    id: &ObjectId,
    former: Option<Health>,
) -> Result<Judgement, tidegate_cluster::Error> {
    let now = clock::now();
    let Some(live) = deployer.get(id).await? else {
        let message = "it is not there".to_owned();
        return Ok(Judgement { state: Health::Progressing, message, recheck: None });
    };
    let alone = judge(&live, &Related::default(), now);
    let fine = alone.state == Health::Healthy && former.is_none_or(|f| f == Health::Healthy);
    let namespace = id.namespace.as_deref().unwrap_or_default();
    match pod_selector(&live).filter(|_| looks_at_pods(&id.group_kind) && !fine) {
        None => Ok(alone),
        Some(selector) => {
            let pods = GroupKind::new("", "Pod");
            let mut related = Related {
                pods: deployer.list(&pods, namespace, &selector, MOST_PODS).await?,
                replica_sets: Vec::new(),
            };
            if id.group_kind.kind == "Deployment" && !related.pods.is_empty() {
                let sets = GroupKind::new("apps", "ReplicaSet");
                related.replica_sets =
                    deployer.list(&sets, namespace, &selector, MOST_PODS).await?;
            }
            Ok(judge(&live, &related, now))
        }
    }
}
