//! Workloads: what their status says, and what their pods say earlier.

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{condition, holds, number, text};
use crate::{Judgement, Related, pods};

/// Joins what the status says with what the pods say: hard failures of pods come first, and
/// what waits says why.
fn with_pods(by_status: Judgement, object: &Value, related: &Related, now: Timestamp) -> Judgement {
    let available = by_status.state == tidegate_schemas::Health::Healthy;
    if let Some(failure) = pods::failure(object, related, available, now) {
        return failure;
    }
    if available || by_status.state == tidegate_schemas::Health::Failed {
        return by_status;
    }
    match pods::reason_to_wait(related) {
        Some(reason) => Judgement::progressing(format!("{}; {reason}", by_status.message)),
        None => by_status,
    }
}

fn status(object: &Value, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or(0)
}

fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

/// A controller that never looked leaves no `observedGeneration`.
fn unseen(object: &Value) -> Option<Judgement> {
    number(object, "/status/observedGeneration")
        .is_none()
        .then(|| Judgement::progressing("its controller has not looked at it yet"))
}

pub(crate) fn deployment(object: &Value, related: &Related, now: Timestamp) -> Judgement {
    unseen(object).unwrap_or_else(|| with_pods(deployment_status(object), object, related, now))
}

fn deployment_status(object: &Value) -> Judgement {
    if let Some(c) = condition(object, "Progressing")
        && c.reason == "ProgressDeadlineExceeded"
    {
        return Judgement::failed(format!("it made no progress in time: {}", c.words()));
    }
    let wanted = replicas(object);
    let (all, updated) = (status(object, "replicas"), status(object, "updatedReplicas"));
    let available = status(object, "availableReplicas");
    if updated < wanted {
        let cause = condition(object, "ReplicaFailure").filter(|c| c.status == "True");
        let cause = cause.map_or_else(String::new, |c| format!(": {}", c.words()));
        return Judgement::progressing(format!("{updated} of {wanted} pods are updated{cause}"));
    }
    if all > updated {
        let old = all - updated;
        return Judgement::progressing(format!("{old} pods of the former revision still run"));
    }
    if available < wanted {
        return Judgement::progressing(format!("{available} of {wanted} pods are available"));
    }
    Judgement::healthy(format!("all {wanted} pods are available"))
}

pub(crate) fn stateful_set(object: &Value, related: &Related, now: Timestamp) -> Judgement {
    unseen(object).unwrap_or_else(|| with_pods(stateful_status(object), object, related, now))
}

fn stateful_status(object: &Value) -> Judgement {
    let wanted = replicas(object);
    let ready = status(object, "readyReplicas");
    if ready < wanted {
        return Judgement::progressing(format!("{ready} of {wanted} pods are ready"));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Judgement::healthy(format!("all {wanted} pods are ready"));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let updated = status(object, "updatedReplicas");
    let to_update = (wanted - partition).max(0);
    let current = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if updated < to_update && !current {
        return Judgement::progressing(format!("{updated} of {to_update} pods are updated"));
    }
    Judgement::healthy(format!("all {wanted} pods are ready"))
}

pub(crate) fn daemon_set(object: &Value, related: &Related, now: Timestamp) -> Judgement {
    let by_status = || {
        let wanted = status(object, "desiredNumberScheduled");
        let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
        let updated = status(object, "updatedNumberScheduled");
        let available = status(object, "numberAvailable");
        if updated < wanted && !on_delete {
            return Judgement::progressing(format!("{updated} of {wanted} pods are updated"));
        }
        if available < wanted {
            return Judgement::progressing(format!("{available} of {wanted} pods are available"));
        }
        Judgement::healthy(format!("all {wanted} pods are available"))
    };
    unseen(object).unwrap_or_else(|| with_pods(by_status(), object, related, now))
}

pub(crate) fn replica_set(object: &Value, related: &Related, now: Timestamp) -> Judgement {
    let by_status = || {
        let (wanted, available) = (replicas(object), status(object, "availableReplicas"));
        if available < wanted {
            return Judgement::progressing(format!("{available} of {wanted} pods are available"));
        }
        Judgement::healthy(format!("all {wanted} pods are available"))
    };
    unseen(object).unwrap_or_else(|| with_pods(by_status(), object, related, now))
}

/// A failed Job is failed, whatever else it says.
pub(crate) fn job(object: &Value) -> Judgement {
    if let Some(failed) = condition(object, "Failed").filter(|c| c.status == "True") {
        return Judgement::failed(format!("it failed: {}", failed.words()));
    }
    if holds(object, "Complete") {
        return Judgement::healthy("it has completed");
    }
    if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Judgement::healthy("it is suspended");
    }
    Judgement::progressing("it has not completed yet")
}
