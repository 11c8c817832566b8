//! What somebody else did to objects of ours.
//!
//! An event is a hint. Where what is stated may have changed, one dry-run apply compares; what
//! differs is recorded by where, never by value, and corrected where the Sync asks for it.

use kube::Resource as _;
use serde_json::Value;
use tidegate_cluster::{Deployer, Error, Observed, Severity};
use tidegate_health::Judgement;
use tidegate_ids::ObjectId;
use tidegate_manifest::Manifest;
use tidegate_plan::{differences, writer};
use tidegate_schemas::{Drift, DriftForm, DriftRecord, Health};

use super::actor::Actor;
use super::state::Known;
use crate::clock;

const RECORDS_KEPT: usize = 20;
const FIELDS_KEPT: usize = 10;
/// How often an object that others write at the same time is read again.
const READS: usize = 5;

/// What an object differs in.
struct Difference {
    form: DriftForm,
    fields: Vec<String>,
    manager: Option<String>,
}

impl Actor {
    /// Looks at what the watches told of, and corrects what differs.
    pub(super) async fn correct_drift(&mut self) {
        if self.state.drift_retry.holds() {
            return;
        }
        let mut put_back = Vec::new();
        for (id, observed) in std::mem::take(&mut self.state.observed) {
            if self.state.fights.get(&id).is_some_and(super::state::Fight::is_held) {
                put_back.push((id, observed));
                continue;
            }
            if !self.may_differ(&id, &observed) {
                continue;
            }
            if let Err(error) = Box::pin(self.compare(&id)).await {
                tracing::warn!(object = %id, %error, "drift could not be looked at; it is tried again");
                self.state.drift_retry.later();
                put_back.push((id, observed));
            }
        }
        if put_back.is_empty() {
            self.state.drift_retry.reset();
        }
        self.state.observed.extend(put_back);
    }

    /// Whether an event may tell of drift; otherwise takes in what it tells.
    fn may_differ(&mut self, id: &ObjectId, observed: &Observed) -> bool {
        let state = &mut self.state;
        let stated = state.desired.as_ref().is_some_and(|desired| desired.set.get(id).is_some());
        let Some(known) = state.known.get_mut(id).filter(|_| stated) else { return false };
        if observed.gone {
            return true;
        }
        if known.covers(&observed.version) {
            return false;
        }
        if known.fingerprint.same_as(observed.fingerprint) {
            known.version.clone_from(&observed.version);
            state.unsure.insert(id.clone());
            return false;
        }
        true
    }

    async fn compare(&mut self, id: &ObjectId) -> Result<(), Error> {
        let Some(manifest) = self.state.desired.as_ref().and_then(|d| d.set.get(id)).cloned()
        else {
            return Ok(());
        };
        let deployer = self.deployer();
        let target = self.state.object.spec.target.namespace.clone();
        self.engine.watches.ensure(&id.group_kind, &target, &deployer).await?;
        let (live, wanted) = match states(&deployer, &manifest).await? {
            States::Missing => {
                let missing =
                    Difference { form: DriftForm::Missing, fields: Vec::new(), manager: None };
                return self.differs(&manifest, missing, None).await;
            }
            States::Ending(live) => {
                // Its end is an event of its own.
                self.note_health(id, &live);
                return Ok(());
            }
            States::Both { live, wanted } => (live, wanted),
        };
        let mut fields = differences(&live, &wanted);
        if fields.is_empty() {
            self.note_live(id, manifest.digest(), &live);
            self.state.unsure.insert(id.clone());
            return Ok(());
        }
        let manager = writer(&live, &fields);
        fields.truncate(FIELDS_KEPT);
        let changed = Difference { form: DriftForm::Changed, fields, manager };
        self.differs(&manifest, changed, Some(&live)).await
    }

    async fn differs(
        &mut self,
        manifest: &Manifest,
        difference: Difference,
        live: Option<&Value>,
    ) -> Result<(), Error> {
        let id = manifest.id();
        let correct = self.state.object.spec.drift == Drift::Correct;
        if correct {
            let live = self.deployer().apply(manifest).await?;
            self.note_live(id, manifest.digest(), &live);
        } else if let Some(live) = live {
            self.state.known.insert(id.clone(), Known::of(manifest.digest(), live));
            self.state.unsure.insert(id.clone());
        } else {
            // Left alone until it appears again: its digest keeps a pass from creating it.
            let message = "it was deleted, and spec.drift leaves it so".to_owned();
            let missing = Judgement { state: Health::Progressing, message, recheck: None };
            self.state.health.insert(id.clone(), missing);
        }
        if correct && self.state.fights.entry(id.clone()).or_default().corrected() {
            let other = difference.manager.clone().unwrap_or_else(|| "somebody unknown".to_owned());
            let why = format!(
                "{id} was corrected more than 5 times within a minute and is left alone for a minute: {other} changes it again and again. Stop that, or take the fields out of Git"
            );
            if let Some(fight) = self.state.fights.get_mut(id) {
                fight.hold(why);
            }
        }
        self.record_drift(id, difference, correct).await;
        Ok(())
    }

    async fn record_drift(&mut self, id: &ObjectId, difference: Difference, corrected: bool) {
        let message = describe(id, &difference, corrected);
        let records = &mut self.state.status.drift;
        let repeated = !corrected
            && records.iter().rev().find(|r| r.object == *id).is_some_and(|r| {
                !r.corrected && r.form == difference.form && r.fields == difference.fields
            });
        if repeated {
            return;
        }
        records.push(DriftRecord {
            object: id.clone(),
            form: difference.form,
            fields: difference.fields,
            manager: difference.manager,
            at: clock::now(),
            corrected,
            message: message.clone(),
        });
        let extra = records.len().saturating_sub(RECORDS_KEPT);
        records.drain(..extra);
        let about = self.state.object.object_ref(&());
        self.engine.announcer.announce(&about, Severity::Warning, "Drift", &message).await;
    }
}

/// A drift record in one sentence.
/// An object as it is, and as applying it would make it.
enum States {
    Missing,
    Ending(Value),
    Both { live: Value, wanted: Value },
}

/// Reads both states of one moment. A dry run tells the version that it started from; where that
/// is another one than was read, a controller wrote in between, and what it wrote is no drift.
async fn states(deployer: &Deployer, manifest: &Manifest) -> Result<States, Error> {
    let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    let mut reads = 0;
    loop {
        reads += 1;
        let Some(live) = deployer.live(manifest).await? else { return Ok(States::Missing) };
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(States::Ending(live));
        }
        let wanted = deployer.dry_run(manifest).await?;
        if version(&live) == version(&wanted) || reads == READS {
            return Ok(States::Both { live, wanted });
        }
    }
}

fn describe(id: &ObjectId, difference: &Difference, corrected: bool) -> String {
    match difference.form {
        DriftForm::Missing => {
            let end =
                if corrected { "created again" } else { "left as it is (spec.drift: Report)" };
            format!("{id} was deleted; its author is unknown; {end}")
        }
        DriftForm::Changed => {
            let who = match &difference.manager {
                Some(manager) => format!("by the field manager {manager:?} (unauthenticated)"),
                None => "by an unknown author".to_owned(),
            };
            let end = if corrected { "restored" } else { "left as it is (spec.drift: Report)" };
            format!("{id} was changed {who} at {}; {end}", difference.fields.join(", "))
        }
    }
}
