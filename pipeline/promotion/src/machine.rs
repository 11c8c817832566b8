//! `Waiting -> Admitted -> Committed -> Applied -> Watching -> Succeeded`, and how it may end otherwise.

use jiff::{SignedDuration, Timestamp};
use tidegate_gates::{Decision, Outcome};
use tidegate_ids::{CommitId, Period};
use tidegate_schemas::{
    Applied, Cause, Health, HealthReport, OnRegression, Phase, PlannedCommit, PromotionStatus,
    RefusedHead, SyncFailure, Watch,
};

/// How long a commit may wait beyond the lane's deadline until it is first applied.
const NOT_AFTER_GRACE: SignedDuration = SignedDuration::from_hours(1);

/// Everything outside the journal that the next step depends on.
#[derive(Debug, Clone)]
pub struct Live<'a> {
    /// What the gates say now. Asked for only in Waiting and Admitted.
    pub decision: Option<&'a Decision>,
    /// Whether what would change is no longer what the journal says was admitted.
    pub moved: bool,
    /// Why this promotion has become needless, if it has.
    pub needless: Option<Needless>,
    /// Whether the Sync has looked at the cluster since this process began: what it wrote before may
    /// be long past.
    pub looked: bool,
    /// When this process began to look. What took longer meanwhile is nobody's delay.
    pub since: Timestamp,
    /// The deploy branch.
    pub branch: Branch,
    /// The lane's Sync.
    pub sync: SyncView<'a>,
    /// The watch in force.
    pub watch: Watch,
    /// From commit to healthy.
    pub deadline: Period,
}

/// Why a promotion that waits has become needless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needless {
    /// This promotion brings a newer release.
    Newer(String),
    /// The lane holds this content already.
    Held,
    /// The promotion that this rollback answers did not regress after all.
    NotRegressed(String),
    /// The lane no longer holds what this rollback would undo.
    Undone(String),
    /// The pipeline no longer has this environment or lane.
    Removed,
}

impl std::fmt::Display for Needless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(newer) => write!(f, "{newer} brings a newer release"),
            Self::Held => f.write_str("this content runs there already"),
            Self::NotRegressed(answered) => write!(f, "{answered} did not regress after all"),
            Self::Undone(answered) => write!(f, "what {answered} brought does not run any more"),
            Self::Removed => f.write_str("the pipeline no longer has this environment or lane"),
        }
    }
}

/// The deploy branch as it is.
#[derive(Debug, Clone, Default)]
pub struct Branch {
    /// What the Sync last accepted, with its sequence: what the next commit builds on.
    pub accepted: Option<(CommitId, u64)>,
    /// The commit on the branch that names this promotion, if it is there.
    pub ours: Option<CommitId>,
}

/// What the lane's Sync reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncView<'a> {
    /// What runs.
    pub applied: Option<&'a Applied>,
    /// How it is.
    pub health: Option<&'a HealthReport>,
    /// The head that it refuses.
    pub refused: Option<&'a RefusedHead>,
    /// Why the accepted commit does not run.
    pub failure: Option<&'a SyncFailure>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing but to keep what the gates say; look again at that time, or on a new fact.
    Wait {
        /// Where it stands, in one sentence.
        message: String,
        /// When to look again.
        until: Option<Timestamp>,
    },
    /// Write the plan of the commit into the journal: the promotion is admitted.
    Admit(PlannedCommit),
    /// Make the planned commit and push it.
    Commit(PlannedCommit),
    /// The admission no longer holds: back to the gates.
    Readmit(String),
    /// The commit is on the branch.
    Committed(CommitId),
    /// The cluster runs it in good health.
    Applied(String),
    /// The watch begins and lasts until then.
    Watch(Timestamp),
    /// It is over.
    End {
        /// How.
        phase: Phase,
        /// Why.
        reason: String,
    },
}

/// The next step of one promotion. Total: every phase is answered whatever the facts are.
#[must_use]
pub fn next(journal: &PromotionStatus, live: &Live<'_>, now: Timestamp) -> Step {
    match journal.phase {
        Phase::Waiting => waiting(live, now),
        Phase::Admitted => admitted(journal, live, now),
        Phase::Committed | Phase::Watching if !live.looked => {
            wait("the Sync has not looked at the cluster yet since Tidegate started", None)
        }
        Phase::Committed => committed(journal, live, now),
        Phase::Applied => {
            let from = journal.applied_at.unwrap_or(now);
            Step::Watch(later(from, live.watch.length.to_signed()))
        }
        Phase::Watching => watching(journal, live, now),
        Phase::Succeeded
        | Phase::Refused
        | Phase::Rejected
        | Phase::Superseded
        | Phase::NotApplied
        | Phase::Regressed => Step::Wait { message: journal.message.clone(), until: None },
    }
}

/// Whether a regression is answered by a rollback, by the rules in force.
#[must_use]
pub const fn rolls_back(watch: &Watch) -> bool {
    matches!(watch.on_regression, OnRegression::Rollback)
}

fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn end(phase: Phase, reason: impl Into<String>) -> Step {
    Step::End { phase, reason: reason.into() }
}

fn wait(message: impl Into<String>, until: Option<Timestamp>) -> Step {
    Step::Wait { message: message.into(), until }
}

fn waiting(live: &Live<'_>, now: Timestamp) -> Step {
    if let Some(needless) = &live.needless {
        return end(Phase::Superseded, needless.to_string());
    }
    let Some(decision) = live.decision else {
        return wait("its facts are being gathered", None);
    };
    match decision.outcome {
        Outcome::Admitted => Step::Admit(plan(live, now)),
        Outcome::Waiting => wait(decision.sentence(), decision.next_change),
        Outcome::Refused => end(Phase::Refused, decision.sentence()),
        Outcome::Rejected => end(Phase::Rejected, rejection(decision)),
    }
}

fn rejection(decision: &Decision) -> String {
    let by: Vec<_> = decision
        .approvals
        .iter()
        .filter(|a| a.counts && a.decision == tidegate_schemas::Decision::Reject)
        .map(|a| a.person.as_str())
        .collect();
    format!("rejected by {}", by.join(", "))
}

fn plan(live: &Live<'_>, now: Timestamp) -> PlannedCommit {
    let not_after = later(later(now, live.deadline.to_signed()), NOT_AFTER_GRACE);
    PlannedCommit {
        sequence: live.branch.accepted.as_ref().map_or(1, |(_, sequence)| sequence + 1),
        parent: live.branch.accepted.as_ref().map(|(commit, _)| commit.clone()),
        at: now,
        not_after,
    }
}

fn admitted(journal: &PromotionStatus, live: &Live<'_>, now: Timestamp) -> Step {
    if let Some(commit) = &live.branch.ours {
        return Step::Committed(commit.clone());
    }
    let Some(decision) = live.decision else {
        return wait("its facts are being gathered", None);
    };
    if decision.outcome != Outcome::Admitted {
        return Step::Readmit(decision.sentence());
    }
    if live.moved {
        return Step::Readmit("what would change moved since it was admitted".to_owned());
    }
    // A plan that could not be carried out in time is made anew: its commit would be too old.
    let stale = |planned: &PlannedCommit| now > later(planned.at, live.deadline.to_signed());
    let parent = live.branch.accepted.as_ref().map(|(commit, _)| commit.clone());
    match &journal.planned {
        Some(planned) if !stale(planned) && planned.parent == parent => {
            Step::Commit(planned.clone())
        }
        _ => Step::Admit(plan(live, now)),
    }
}

fn committed(journal: &PromotionStatus, live: &Live<'_>, now: Timestamp) -> Step {
    let Some(commit) = &journal.commit else {
        return Step::Readmit("the journal has no commit".to_owned());
    };
    if let Some(refused) = live.sync.refused.filter(|r| r.commit == *commit) {
        return end(Phase::NotApplied, format!("the Sync refused the commit: {}", refused.reason));
    }
    let due =
        later(entered(journal, Phase::Committed, now).max(live.since), live.deadline.to_signed());
    let failure = live.sync.failure.filter(|f| f.commit == *commit);
    let runs = live.sync.applied.is_some_and(|a| a.commit == *commit);
    match (failure.map(|f| f.cause), health_of(live, commit)) {
        (Some(Cause::Workload | Cause::Content), _) => {
            end(Phase::Regressed, failure.map_or_else(String::new, |f| f.message.clone()))
        }
        (_, Some(Health::Failed)) => end(Phase::Regressed, unhealthy(live)),
        (None, Some(Health::Healthy)) if runs => Step::Applied("applied and healthy".to_owned()),
        (Some(Cause::Cluster), _) if now >= due => {
            end(Phase::NotApplied, failure.map_or_else(String::new, |f| f.message.clone()))
        }
        // What cannot be looked at is not the release's fault.
        (_, Some(Health::Unknown)) if now >= due => end(
            Phase::NotApplied,
            format!("its health could not be told within {}: {}", live.deadline, unhealthy(live)),
        ),
        _ if now >= due && runs => end(
            Phase::Regressed,
            format!("not healthy within {}: {}", live.deadline, unhealthy(live)),
        ),
        _ if now >= due => end(
            Phase::NotApplied,
            format!("the cluster did not take it within {}; the Sync says why", live.deadline),
        ),
        (Some(Cause::Cluster), _) => wait(
            format!("the cluster could not take it yet: {}", failure.map_or("", |f| &f.message)),
            Some(due),
        ),
        _ => wait("the cluster is being made equal to the commit", Some(due)),
    }
}

/// When the journal entered a phase last.
fn entered(journal: &PromotionStatus, phase: Phase, now: Timestamp) -> Timestamp {
    journal.journal.iter().rev().find(|line| line.phase == phase).map_or(now, |line| line.at)
}

fn health_of(live: &Live<'_>, commit: &CommitId) -> Option<Health> {
    live.sync.health.filter(|h| h.commit == *commit).map(|h| h.state)
}

fn unhealthy(live: &Live<'_>) -> String {
    let sentences: Vec<_> = live
        .sync
        .health
        .iter()
        .flat_map(|h| &h.objects)
        .take(3)
        .map(|o| format!("{}: {}", o.object, o.message))
        .collect();
    if sentences.is_empty() {
        "its workloads are not healthy".to_owned()
    } else {
        sentences.join("; ")
    }
}

fn watching(journal: &PromotionStatus, live: &Live<'_>, now: Timestamp) -> Step {
    let Some(commit) = &journal.commit else {
        return Step::Readmit("the journal has no commit".to_owned());
    };
    let until = journal.watch.as_ref().map_or(now, |w| w.until);
    let failed = live.sync.failure.filter(|f| f.commit == *commit && f.cause == Cause::Workload);
    match (failed, health_of(live, commit)) {
        (Some(failure), _) => end(Phase::Regressed, failure.message.clone()),
        (None, Some(Health::Failed)) => end(Phase::Regressed, unhealthy(live)),
        (None, Some(Health::Healthy)) if now >= until => {
            end(Phase::Succeeded, "healthy during its whole watch")
        }
        (None, Some(Health::Healthy)) => wait("healthy so far", Some(until)),
        // Nothing is known: neither a success nor the release's fault, and no reason to hold the
        // lane for ever.
        (None, None | Some(Health::Unknown)) => {
            let last = later(until.max(live.since), live.deadline.to_signed());
            let why = format!("its health cannot be told: {}", unhealthy(live));
            if now >= last { end(Phase::NotApplied, why) } else { wait(why, Some(last)) }
        }
        (None, _) if now >= later(until, live.deadline.to_signed()) => end(
            Phase::Regressed,
            format!("not healthy at the end of its watch: {}", unhealthy(live)),
        ),
        (None, _) => {
            let again = if now < until { until } else { later(until, live.deadline.to_signed()) };
            wait(format!("not healthy at this moment: {}", unhealthy(live)), Some(again))
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
