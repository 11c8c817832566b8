//! Writing promotions' journals, and reading one's own writes.
//!
//! A watched store lags behind one's own writes by some milliseconds. What a pass
//! wrote is kept here until the store has it, so that no pass decides on a journal
//! that it has already moved on.

use std::collections::HashMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_gates::{Decision, record};
use tidegate_ids::CommitId;
use tidegate_schemas::{Health, Phase, Promotion, PromotionStatus, set_condition};

use crate::Error;
use crate::engine::Engine;
use crate::facts::Known;
use crate::lane::LaneState;
use crate::world::PipelineKey;

/// Journal lines kept: the first ones and the newest.
const LINES: usize = 50;
/// How long an own write is believed although the store does not show it, in seconds.
const BELIEVED: i64 = 60;

/// Promotions as this process last wrote them, until the store shows them.
#[derive(Default)]
pub struct Recent(HashMap<String, (Promotion, Timestamp)>);

impl Recent {
    /// The promotions of a pipeline, oldest first, own writes included.
    #[must_use]
    pub fn promotions(&self, engine: &Engine, key: &PipelineKey) -> Vec<Promotion> {
        let now = crate::clock::now();
        let mut found: Vec<Promotion> =
            engine.world.promotions_of(key).iter().map(|p| p.as_ref().clone()).collect();
        for (own, at) in self.0.values() {
            let stored = found.iter_mut().find(|p| p.name_any() == own.name_any());
            match stored {
                Some(stored) if stored.uid() == own.uid() && version(own) > version(stored) => {
                    *stored = own.clone();
                }
                None if now.duration_since(*at).as_secs() < BELIEVED => found.push(own.clone()),
                _ => {}
            }
        }
        found.sort_by_key(|p| (p.creation_timestamp(), crate::names::number(&p.name_any())));
        found
    }

    /// The names of all promotions of a namespace, own ones included.
    #[must_use]
    pub fn names(&self, engine: &Engine, namespace: &str) -> Vec<String> {
        let stored = engine.world.promotions.state();
        let stored = stored.iter().filter(|p| p.namespace().as_deref() == Some(namespace));
        stored.map(|p| p.name_any()).chain(self.0.keys().cloned()).collect()
    }

    /// Remembers what was created or written.
    pub fn keep(&mut self, promotion: Promotion) {
        let now = crate::clock::now();
        self.0.retain(|_, (_, at)| now.duration_since(*at).as_secs() < BELIEVED);
        self.0.insert(promotion.name_any(), (promotion, now));
    }

    /// Writes a journal if it changed, and remembers it.
    ///
    /// # Errors
    /// When the API server does not take it, or somebody wrote it in between.
    pub async fn write(
        &mut self,
        engine: &Engine,
        promotion: &Promotion,
        status: PromotionStatus,
    ) -> Result<(), Error> {
        if promotion.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let written = engine.write_promotion(promotion, status).await?;
        self.keep(written);
        Ok(())
    }
}

fn version(promotion: &Promotion) -> u64 {
    promotion.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Enters a phase.
pub fn enter(status: &mut PromotionStatus, phase: Phase, message: String, now: Timestamp) {
    tracing::info!(from = %status.phase, to = %phase, message, "promotion moves");
    status.phase = phase;
    status.message.clone_from(&message);
    line(status, message, now);
    let (holds, reason) = (phase == Phase::Succeeded, phase.to_string());
    set_condition(
        &mut status.conditions,
        "Ready",
        holds,
        &reason,
        status.message.clone(),
        None,
        now,
    );
}

/// Adds a line to the journal.
fn line(status: &mut PromotionStatus, message: String, now: Timestamp) {
    let phase = status.phase;
    status.journal.push(tidegate_schemas::JournalEntry { phase, at: now, message });
    if status.journal.len() > LINES {
        status.journal.remove(LINES / 2);
    }
}

/// Enters Committed.
pub fn committed(status: &mut PromotionStatus, commit: CommitId, branch: &str, now: Timestamp) {
    let message = format!("commit {} on {branch}", commit.short());
    status.commit = Some(commit);
    enter(status, Phase::Committed, message, now);
}

/// Whether an interval of good health lasts that somebody has to end.
#[must_use]
pub fn earns(promotion: &Promotion) -> bool {
    let healthy = promotion.status.as_ref().and_then(|s| s.healthy.last());
    healthy.is_some_and(|interval| interval.to.is_none())
}

/// Records whether the promotion's content is healthy where it runs.
pub fn record_health(status: &mut PromotionStatus, here: &LaneState<'_>, now: Timestamp) {
    let Some(commit) = &status.commit else { return };
    let holds = here.holding.as_ref().is_some_and(|h| h.commit == *commit);
    match here.view().health {
        Some(health) if health.commit == *commit && holds => {
            record(&mut status.healthy, health.state == Health::Healthy, health.since);
        }
        Some(health) if health.commit != *commit && !holds => {
            record(&mut status.healthy, false, health.since.min(now));
        }
        _ => {}
    }
}

/// Records what the gates said, and what would change.
///
/// # Errors
/// When the change has no digest.
pub fn record_decision(
    status: &mut PromotionStatus,
    known: &Known,
    decision: &Decision,
    here: &LaneState<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let (digest, parts) = known.change.digest().map_err(|e| Error::Content(e.to_string()))?;
    if status.change.is_some_and(|former| former != digest) {
        let moved: Vec<_> = parts
            .iter()
            .filter(|(name, part)| status.change_parts.get(*name) != Some(part))
            .map(|(name, _)| name.as_str())
            .collect();
        let message = format!(
            "what would change moved ({}): approvals given before no longer count",
            moved.join(", ")
        );
        line(status, message, now);
    }
    status.change = Some(digest);
    status.change_parts = parts;
    status.manifests = Some(known.change.manifests);
    status.replaces = here.held();
    status.gates.clone_from(&decision.reports);
    status.approvals.clone_from(&decision.approvals);
    if status.journal.is_empty() {
        line(status, "created".to_owned(), now);
    }
    Ok(())
}
