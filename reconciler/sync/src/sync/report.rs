//! What is told: conditions (kstatus), health and failure, composed from what is known.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidegate_health::{Judgement, total};
use tidegate_ids::GroupKind;
use tidegate_schemas::{
    Cause, ConditionStatus, Health, HealthReport, SyncFailure, SyncStatus, set_condition,
};

use super::actor::Actor;
use super::state::State;
use crate::clock;

/// A condition to be.
struct Ready {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
    /// Whether a person must act.
    stalled: bool,
    /// Whether it goes on by itself.
    reconciling: bool,
}

impl Actor {
    /// Composes the status and writes it if it changed. Returns when the workloads' deadline ends.
    pub(super) async fn report(&mut self) -> Option<Instant> {
        self.state.degraded = self.degraded();
        let deadline = compose(&mut self.state, clock::now());
        self.write().await;
        deadline
    }
}

impl Actor {
    /// Kinds of this Sync whose changes are not seen now.
    fn degraded(&self) -> Option<String> {
        let degraded = self.engine.watches.degraded();
        let desired = self.state.desired.as_ref().filter(|_| !degraded.is_empty())?;
        let own = |kind: &GroupKind| desired.set.iter().any(|m| m.id().group_kind == *kind);
        let reasons: Vec<String> =
            degraded.into_iter().filter(|(kind, _)| own(kind)).map(|(_, why)| why).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Brings `state.status` up to date. Returns when the workloads' deadline ends.
fn compose(state: &mut State, now: Timestamp) -> Option<Instant> {
    let health = health(state, now);
    let deadline = workload_deadline(state, health.as_ref());
    state.status.failure = failure(state, health.as_ref(), deadline, now);
    state.status.health = health;
    let ready = ready(state);
    let generation = state.object.metadata.generation;
    let verified = verified(state);
    let status = &mut state.status;
    status.observed_generation = generation;
    match verified {
        Some((holds, reason, message)) => {
            set_condition(
                &mut status.conditions,
                "Verified",
                holds,
                reason,
                message,
                generation,
                now,
            );
        }
        None => status.conditions.retain(|c| c.type_ != "Verified"),
    }
    let words = |holds: bool| if holds { ready.message.clone() } else { String::new() };
    let conditions = &mut status.conditions;
    let (stalled, going) = (ready.stalled, ready.reconciling);
    set_condition(conditions, "Stalled", stalled, ready.reason, words(stalled), generation, now);
    set_condition(conditions, "Reconciling", going, ready.reason, words(going), generation, now);
    set_condition(conditions, "Ready", ready.status, ready.reason, ready.message, generation, now);
    let wait = Duration::try_from(deadline?.duration_since(now)).ok()?;
    let pending = status.failure.is_none();
    (pending && !wait.is_zero()).then(|| Instant::now() + wait)
}

fn health(state: &State, now: Timestamp) -> Option<HealthReport> {
    let applied = state.status.applied.as_ref()?;
    let former = state.status.health.as_ref();
    let Some(desired) = &state.desired else {
        // Nothing was looked at since the start: what was known stands.
        return former.cloned();
    };
    let unseen = Judgement {
        state: Health::Progressing,
        message: "it was not looked at yet".to_owned(),
        recheck: None,
    };
    let judged = desired.set.iter().map(|m| (m.id(), state.health.get(m.id()).unwrap_or(&unseen)));
    let (worst, objects) = total(judged);
    let since =
        former.filter(|f| f.state == worst && f.commit == applied.commit).map_or(now, |f| f.since);
    Some(HealthReport { state: worst, since, commit: applied.commit.clone(), objects })
}

/// Until when workloads that are not healthy may stay so.
fn workload_deadline(state: &State, health: Option<&HealthReport>) -> Option<Timestamp> {
    let health = health.filter(|h| h.state != Health::Healthy)?;
    let applied = state.status.applied.as_ref()?;
    // One deadline for the whole way to healthy: states on the way do not prolong it.
    let start = match state.status.health.as_ref() {
        Some(former) if former.commit == health.commit && former.state == Health::Healthy => {
            health.since
        }
        _ => applied.at.max(unhealthy_since(state).unwrap_or(applied.at)),
    };
    start.checked_add(state.object.spec.deadline.to_signed()).ok()
}

/// Since when `Ready` is not true, where it once was for this commit.
fn unhealthy_since(state: &State) -> Option<Timestamp> {
    let ready = tidegate_schemas::condition(&state.status.conditions, "Ready")?;
    (ready.status != "True").then_some(ready.last_transition_time.0)
}

fn failure(
    state: &State,
    health: Option<&HealthReport>,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Option<SyncFailure> {
    let former = state.status.failure.as_ref();
    let since = |commit: &tidegate_ids::CommitId, cause: Cause| {
        former.filter(|f| f.commit == *commit && f.cause == cause).map_or(now, |f| f.since)
    };
    if let (Some(failure), Some(accepted)) = (&state.failure, &state.status.accepted) {
        let (commit, cause) = (accepted.commit.clone(), failure.cause);
        let since = since(&commit, cause);
        return Some(SyncFailure { commit, cause, message: failure.message.clone(), since });
    }
    let health = health.filter(|h| h.state != Health::Healthy)?;
    let commit = health.commit.clone();
    let first = health.objects.first().map(|o| format!("{}: {}", o.object, o.message));
    let first = first.unwrap_or_default();
    let late = deadline.is_some_and(|deadline| deadline <= now);
    let message = if health.state == Health::Failed {
        first
    } else if late {
        format!("not healthy within {}: {first}", state.object.spec.deadline)
    } else {
        // What failed has failed until it is healthy.
        return former.filter(|f| f.commit == commit && f.cause == Cause::Workload).cloned();
    };
    let since = since(&commit, Cause::Workload);
    Some(SyncFailure { commit, cause: Cause::Workload, message, since })
}

fn verified(state: &State) -> Option<(ConditionStatus, &'static str, String)> {
    state.object.spec.verify.as_ref()?;
    if let Some(refused) = &state.status.refused {
        let message = format!(
            "commit {} is refused: {}. {}",
            refused.commit.short(),
            refused.reason,
            stays(&state.status)
        );
        return Some((ConditionStatus::False, "HeadRefused", message));
    }
    Some(match &state.status.accepted {
        Some(accepted) => {
            let message =
                format!("commit {} proves what spec.verify asks", accepted.commit.short());
            (ConditionStatus::True, "HeadAccepted", message)
        }
        None => (ConditionStatus::Unknown, "NoHead", "no head was looked at yet".to_owned()),
    })
}

fn stays(status: &SyncStatus) -> String {
    match &status.accepted {
        Some(accepted) => format!("Commit {} stays in force", accepted.commit.short()),
        None => "Nothing is applied".to_owned(),
    }
}

fn not_ready(reason: &'static str, message: String, stalled: bool) -> Ready {
    Ready { status: ConditionStatus::False, reason, message, stalled, reconciling: !stalled }
}

fn ready(state: &State) -> Ready {
    if state.object.spec.suspend {
        let message =
            "suspended by spec.suspend: nothing is applied, corrected or pruned".to_owned();
        let status = ConditionStatus::Unknown;
        return Ready { status, reason: "Suspended", message, stalled: false, reconciling: false };
    }
    if let Some(problem) = &state.problem {
        return not_ready(problem.reason, problem.message.clone(), problem.stalled);
    }
    if let Some(refused) = &state.status.refused {
        let (commit, stays) = (refused.commit.short(), stays(&state.status));
        let message = format!("commit {commit} is refused: {}. {stays}", refused.reason);
        return not_ready("HeadRefused", message, true);
    }
    if let Some(failure) = &state.failure {
        let stalled = failure.cause == Cause::Content;
        return not_ready(failure.reason, failure.message.clone(), stalled);
    }
    if let Some(what) = &state.waiting {
        return not_ready("Waiting", format!("waiting: {what}"), false);
    }
    if let Some((_, why)) = state.fights.values().find_map(|f| f.held.as_ref()) {
        return not_ready("Contested", why.clone(), true);
    }
    if !state.blocked.is_empty() {
        return not_ready("PruneBlocked", blocked(state), true);
    }
    let (Some(applied), Some(health)) = (&state.status.applied, &state.status.health) else {
        return not_ready("Reconciling", "nothing was applied yet".to_owned(), false);
    };
    let count = format!("{} objects of commit {}", applied.objects, applied.commit.short());
    if health.state == Health::Healthy {
        let mut message = format!("{count} are applied and healthy");
        if let Some(why) = &state.degraded {
            message.push_str("; some changes are not seen now: ");
            message.push_str(why);
        }
        let status = ConditionStatus::True;
        return Ready { status, reason: "Applied", message, stalled: false, reconciling: false };
    }
    let why = health.objects.first().map(|o| format!("{}: {}", o.object, o.message));
    let why = why.unwrap_or_default();
    match &state.status.failure {
        Some(failure) => not_ready("WorkloadFailed", failure.message.clone(), true),
        None => not_ready("Progressing", format!("{count} are applied; {why}"), false),
    }
}

fn blocked(state: &State) -> String {
    let names: Vec<String> = state.blocked.iter().take(5).map(ToString::to_string).collect();
    format!(
        "{} objects are no longer in Git and are kept, because deleting them loses data: {}. Add their kinds to spec.prune.allow, or delete them by hand",
        state.blocked.len(),
        names.join(", ")
    )
}
