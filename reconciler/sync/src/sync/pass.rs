//! One pass: make the target equal to what Git states.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tidegate_cluster::Deployer;
use tidegate_health::{Related, judge};
use tidegate_ids::{Digest, ObjectId};
use tidegate_manifest::{Manifest, stage};
use tidegate_plan::{ChangeSet, Parent, plan};
use tidegate_schemas::{Applied, Cause, Health};

use super::Engine;
use super::actor::Actor;
use super::state::{Failure, Known};
use crate::clock;

/// How many objects of one Sync are applied at the same time.
pub(super) const IN_FLIGHT: usize = 16;

/// Why a pass did not come to its end.
pub(super) enum Stop {
    /// Something takes a moment.
    Wait(String),
    /// It failed.
    Fail(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.into())
    }
}

impl Actor {
    /// Makes the target equal to the accepted commit, if it is not, and if it is time to try.
    pub(super) async fn pass(&mut self) {
        let Some(accepted) = self.state.status.accepted.clone() else { return };
        let written = self.state.object.status.as_ref().and_then(|status| status.accepted.as_ref());
        if self.state.object.spec.verify.is_some() && written != Some(&accepted) {
            return;
        }
        let attempt = Some((accepted.commit.clone(), self.state.object.metadata.generation));
        let again = self.state.attempt == attempt;
        let unfinished = self.state.failure.is_some() || self.state.waiting.is_some();
        if again && unfinished && self.state.retry.holds() {
            return;
        }
        self.state.attempt = attempt;
        let outcome = match self.prepare(&accepted.commit).await {
            Ok(()) => Box::pin(self.make_equal()).await,
            Err(failure) => Err(Stop::Fail(failure)),
        };
        self.state.waiting = None;
        match outcome {
            Ok(()) => {
                self.state.waiting_since = None;
                self.state.failure = None;
                self.state.retry.reset();
            }
            Err(Stop::Wait(what)) => self.wait_for(what),
            Err(Stop::Fail(failure)) => {
                self.state.failure = Some(failure);
                self.state.retry.later();
            }
        }
    }

    /// What takes a moment may take as long as the Sync's deadline.
    fn wait_for(&mut self, what: String) {
        let since = *self.state.waiting_since.get_or_insert_with(Instant::now);
        let deadline = self.state.object.spec.deadline;
        if since.elapsed() > deadline.to_std() {
            let message = format!("waited longer than {deadline} (spec.deadline): {what}");
            self.state.failure = Some(Failure::cluster("DeadlineExceeded", &message));
            self.state.retry.later();
            return;
        }
        self.state.failure = None;
        self.state.waiting = Some(what);
        self.state.retry.soon();
    }

    async fn make_equal(&mut self) -> Result<(), Stop> {
        if self.state.desired.is_none() {
            return Ok(());
        }
        self.read_record().await?;
        self.trust_what_was_applied();
        let changes = self.plan()?;
        self.state.blocked.clone_from(&changes.blocked);
        if changes.is_empty() {
            self.note_applied();
            return Ok(());
        }
        self.record_before(&changes).await?;
        for ids in &changes.apply {
            self.wait_for_definitions(ids).await?;
            self.apply_stage(ids).await?;
        }
        self.note_applied();
        self.prune(&changes.prune).await
    }

    fn plan(&self) -> Result<ChangeSet, Failure> {
        let (Some(desired), Some(parent)) = (&self.state.desired, &self.state.parent) else {
            return Ok(ChangeSet::default());
        };
        let applied: BTreeMap<ObjectId, Digest> =
            self.state.known.iter().map(|(id, known)| (id.clone(), known.digest)).collect();
        let allow = &self.state.object.spec.prune.allow;
        Ok(plan(&desired.set, &applied, &parent.inventory, allow)?)
    }

    /// Reads what the target may hold of ours, once.
    async fn read_record(&mut self) -> Result<(), Failure> {
        if self.state.parent.is_some() {
            return Ok(());
        }
        let mut parent = self.new_parent();
        if let Some(live) = self.deployer().get(&parent.object()).await? {
            parent.read_inventory(&live)?;
            self.state.recorded.clone_from(&parent.inventory);
        }
        self.state.parent = Some(parent);
        Ok(())
    }

    /// After a restart, what was applied completely is not applied again but looked at: what differs
    /// was changed by somebody meanwhile, and is told as drift.
    fn trust_what_was_applied(&mut self) {
        let state = &mut self.state;
        let (Some(desired), Some(parent)) = (&state.desired, &state.parent) else { return };
        let applied = state.status.applied.as_ref();
        let complete = applied
            .is_some_and(|a| a.commit == desired.commit && a.tree == desired.tree)
            && state.status.observed_generation == desired.generation
            && state.status.failure.as_ref().is_none_or(|f| f.cause == Cause::Workload);
        if !state.known.is_empty() || !complete {
            return;
        }
        for manifest in desired.set.iter().filter(|m| parent.inventory.contains(m.id())) {
            let id = manifest.id();
            let unseen = Known {
                digest: manifest.digest(),
                version: String::new(),
                fingerprint: tidegate_cluster::Fingerprint::default(),
            };
            state.known.insert(id.clone(), unseen);
            state.observed.entry(id.clone()).or_insert_with(|| tidegate_cluster::Observed {
                applyset: parent.applyset(),
                object: id.clone(),
                version: "unknown".to_owned(),
                fingerprint: tidegate_cluster::Fingerprint::default(),
                gone: false,
            });
        }
    }

    /// Records what will be there before it is.
    async fn record_before(&mut self, changes: &ChangeSet) -> Result<(), Failure> {
        let Some(parent) = self.state.parent.as_mut() else { return Ok(()) };
        parent.inventory.extend(changes.apply.iter().flatten().cloned());
        self.record().await
    }

    /// Writes the record, if it changed.
    pub(super) async fn record(&mut self) -> Result<(), Failure> {
        let Some(parent) = &self.state.parent else { return Ok(()) };
        if parent.inventory == self.state.recorded {
            return Ok(());
        }
        let inventory = parent.inventory.clone();
        let manifest = Parent::to_manifest(parent)?;
        self.deployer().apply(&manifest).await?;
        self.state.recorded = inventory;
        Ok(())
    }

    /// Waits until the `CustomResourceDefinition`s and Namespaces of earlier stages can be used.
    async fn wait_for_definitions(&mut self, next: &[ObjectId]) -> Result<(), Stop> {
        let Some(desired) = &self.state.desired else { return Ok(()) };
        let Some(next) = next.first().map(|id| stage(&id.group_kind)) else { return Ok(()) };
        let unusable: Vec<ObjectId> = desired
            .set
            .iter()
            .map(Manifest::id)
            .filter(|id| stage(&id.group_kind) == 0 && next > 0)
            .filter(|id| self.state.health.get(id).is_none_or(|j| j.state != Health::Healthy))
            .cloned()
            .collect();
        if unusable.is_empty() {
            return Ok(());
        }
        for id in unusable {
            let live = self.deployer().get(&id).await?.unwrap_or_default();
            let judgement = judge(&live, &Related::default(), clock::now());
            let usable = judgement.state == Health::Healthy;
            let message = judgement.message.clone();
            self.state.health.insert(id.clone(), judgement);
            if !usable {
                return Err(Stop::Wait(format!("{id}: {message}")));
            }
        }
        self.engine.cluster.discover_again().await?;
        Ok(())
    }

    async fn apply_stage(&mut self, ids: &[ObjectId]) -> Result<(), Stop> {
        let Some(desired) = &self.state.desired else { return Ok(()) };
        let target: Arc<str> = self.state.object.spec.target.namespace.as_str().into();
        let applications: Vec<_> = ids
            .iter()
            .filter_map(|id| desired.set.get(id).cloned())
            .map(|manifest| {
                let (engine, target) = (Arc::clone(&self.engine), Arc::clone(&target));
                apply_one(engine, self.deployer(), target, manifest)
            })
            .collect();
        let outcomes: Vec<Result<_, Failure>> =
            stream::iter(applications).buffer_unordered(IN_FLIGHT).collect().await;
        let mut failures = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok((id, digest, live)) => self.note_live(&id, digest, &live),
                Err(failure) => failures.push(failure),
            }
        }
        match worst(failures) {
            Some(failure) => Err(Stop::Fail(failure)),
            None => Ok(()),
        }
    }

    /// Remembers an object as the API server returned it, and judges it from that.
    pub(super) fn note_live(&mut self, id: &ObjectId, digest: Digest, live: &Value) {
        self.state.known.insert(id.clone(), Known::of(digest, live));
        self.note_health(id, live);
    }

    fn note_applied(&mut self) {
        let state = &mut self.state;
        let Some(desired) = &state.desired else { return };
        let objects = u32::try_from(desired.set.len()).unwrap_or(u32::MAX);
        let same = state.status.applied.as_ref().filter(|a| {
            a.commit == desired.commit && a.tree == desired.tree && a.objects == objects
        });
        let at = same.map_or_else(clock::now, |applied| applied.at);
        let (commit, tree) = (desired.commit.clone(), desired.tree.clone());
        state.status.applied = Some(Applied { commit, tree, objects, at });
        let set = &desired.set;
        state.health.retain(|id, _| set.get(id).is_some());
    }
}

async fn apply_one(
    engine: Arc<Engine>,
    deployer: Deployer,
    target: Arc<str>,
    manifest: Manifest,
) -> Result<(ObjectId, Digest, Value), Failure> {
    engine.watches.ensure(&manifest.id().group_kind, &target, &deployer).await?;
    check_owner(&engine, &manifest)?;
    let live = deployer.apply(&manifest).await?;
    Ok((manifest.id().clone(), manifest.digest(), live))
}

/// Two Syncs that state the same object would take it from each other for ever.
fn check_owner(engine: &Engine, manifest: &Manifest) -> Result<(), Failure> {
    let own = manifest.label(tidegate_plan::PART_OF);
    match engine.watches.set_of(manifest.id()) {
        Some(set) if own.is_some_and(|own| *own != *set) => Err(Failure::content(
            "ObjectTaken",
            &format!(
                "{} belongs to another Sync (set {set}): state it in one of the two only; to move it here, take it out there with the annotation {}: disabled, and remove its label {}",
                manifest.id(),
                tidegate_plan::PRUNE,
                tidegate_plan::PART_OF
            ),
        )),
        _ => Ok(()),
    }
}

/// One failure for many: what the content is to blame for comes first.
fn worst(mut failures: Vec<Failure>) -> Option<Failure> {
    failures.sort_by_key(|failure| failure.cause != Cause::Content);
    let more = failures.len().saturating_sub(1);
    let mut failure = failures.into_iter().next()?;
    if more > 0 {
        failure.message = format!("{} (and {more} more objects failed)", failure.message);
    }
    Some(failure)
}
