//! Rules of kinds that are not workloads.

use serde_json::Value;
use tidegate_schemas::Health;

use crate::Judgement;
use crate::fields::{condition, holds, items, number, text};
use crate::generic;

pub(crate) fn claim(object: &Value) -> Judgement {
    match text(object, "/status/phase") {
        "Bound" => Judgement::healthy("it is bound"),
        "Lost" => Judgement::failed("it lost its volume"),
        _ => Judgement::progressing("it has no volume yet"),
    }
}

pub(crate) fn service(object: &Value) -> Judgement {
    let waits = text(object, "/spec/type") == "LoadBalancer"
        && items(object, "/status/loadBalancer/ingress").next().is_none();
    if waits {
        Judgement::progressing("its load balancer has no address yet")
    } else {
        Judgement::healthy("it is there")
    }
}

pub(crate) fn namespace(object: &Value) -> Judgement {
    match text(object, "/status/phase") {
        "Active" => Judgement::healthy("it is active"),
        "Terminating" => Judgement::new(Health::Terminating, "it is being deleted"),
        _ => Judgement::progressing("it is not active yet"),
    }
}

pub(crate) fn autoscaler(object: &Value) -> Judgement {
    for kind in ["AbleToScale", "ScalingActive"] {
        if let Some(c) = condition(object, kind)
            && c.status == "False"
            && c.reason != "ScalingDisabled"
        {
            return Judgement::progressing(format!("it cannot scale: {}", c.words()));
        }
    }
    Judgement::healthy("it can scale")
}

pub(crate) fn disruption_budget(object: &Value) -> Judgement {
    let current = number(object, "/status/currentHealthy").unwrap_or(0);
    let desired = number(object, "/status/desiredHealthy").unwrap_or(0);
    if current < desired {
        let message = format!("{current} of the {desired} pods that must be healthy are");
        return Judgement::progressing(message);
    }
    Judgement::healthy("enough pods are healthy")
}

pub(crate) fn definition(object: &Value) -> Judgement {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|c| c.status == "False") {
        return Judgement::failed(format!("its names were not accepted: {}", refused.words()));
    }
    if holds(object, "Terminating") {
        return Judgement::new(Health::Terminating, "it is being deleted");
    }
    if holds(object, "Established") {
        return Judgement::healthy("its kind is served");
    }
    Judgement::progressing("its kind is not served yet")
}

pub(crate) fn api_service(object: &Value) -> Judgement {
    match condition(object, "Available") {
        Some(c) if c.status == "True" => Judgement::healthy("it is available"),
        Some(c) => Judgement::progressing(format!("it is not available: {}", c.words())),
        None => Judgement::progressing("it is not available yet"),
    }
}

/// A CloudNativePG Cluster: `Ready` alone lags behind a change of `instances`.
pub(crate) fn database_cluster(object: &Value) -> Judgement {
    let phase = text(object, "/status/phase");
    if phase.is_empty() {
        return Judgement::progressing("its operator has not looked at it yet");
    }
    if phase.contains("unrecoverable") {
        return Judgement::failed(format!("{phase}: {}", text(object, "/status/phaseReason")));
    }
    let wanted = number(object, "/spec/instances").unwrap_or(1);
    let ready = number(object, "/status/readyInstances").unwrap_or(0);
    if ready < wanted {
        return Judgement::progressing(format!("{ready} of {wanted} instances are ready: {phase}"));
    }
    if let Some(c) = condition(object, "ContinuousArchiving").filter(|c| c.status == "False") {
        return Judgement::progressing(format!("its log is not archived: {}", c.words()));
    }
    generic::ready(object)
}
