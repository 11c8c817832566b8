//! Which rule judges which kind.

use jiff::Timestamp;
use serde_json::Value;
use tidegate_ids::GroupKind;
use tidegate_schemas::Health;

use crate::fields::{number, text};
use crate::{Related, custom, generic, pods, workload};

/// How an object is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How it is.
    pub state: Health,
    /// Why, in one sentence.
    pub message: String,
    /// When to look again although no event came: the verdict rests on how recent something is.
    pub recheck: Option<Timestamp>,
}

impl Judgement {
    pub(crate) fn new(state: Health, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), recheck: None }
    }

    pub(crate) fn healthy(message: impl Into<String>) -> Self {
        Self::new(Health::Healthy, message)
    }

    pub(crate) fn progressing(message: impl Into<String>) -> Self {
        Self::new(Health::Progressing, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Health::Failed, message)
    }
}

/// Kinds that are healthy by being there.
const SILENT: &[(&str, &[&str])] = &[
    ("", &["ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota", "Endpoints"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    ("networking.k8s.io", &["NetworkPolicy", "IngressClass"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["StorageClass", "CSIDriver"]),
    ("batch", &["CronJob"]),
    ("traefik.io", &["IngressRoute", "Middleware", "TLSOption"]),
];

/// Whether objects of this kind say how they are. The others are healthy by being there, and need
/// not be read.
#[must_use]
pub fn says_something(kind: &GroupKind) -> bool {
    !SILENT.iter().any(|(group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
}

/// Whether a kind is judged by its pods too.
#[must_use]
pub fn looks_at_pods(kind: &GroupKind) -> bool {
    kind.group == "apps"
        && matches!(kind.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
}

/// The label selector of a workload's pods, in the form of the API's `labelSelector`. None where
/// it would select everything.
#[must_use]
pub fn pod_selector(object: &Value) -> Option<String> {
    pods::selector(object)
}

/// Judges one object as the API server returns it. `related` are the pods of its selector, and
/// the `ReplicaSet`s for a Deployment; empty for other kinds and where they were not looked at.
#[must_use]
pub fn judge(object: &Value, related: &Related, now: Timestamp) -> Judgement {
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return Judgement::new(Health::Terminating, "it is being deleted");
    }
    let generation = number(object, "/metadata/generation");
    let observed = number(object, "/status/observedGeneration");
    if let (Some(generation), Some(observed)) = (generation, observed)
        && observed < generation
    {
        return Judgement::progressing("its controller has not seen the last change yet");
    }
    if let Some(judgement) = generic::stalled_or_reconciling(object) {
        return judgement;
    }
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("apps", "Deployment") => workload::deployment(object, related, now),
        ("apps", "StatefulSet") => workload::stateful_set(object, related, now),
        ("apps", "DaemonSet") => workload::daemon_set(object, related, now),
        ("apps", "ReplicaSet") => workload::replica_set(object, related, now),
        ("", "Pod") => pods::pod(object),
        ("batch", "Job") => workload::job(object),
        ("", "PersistentVolumeClaim") => custom::claim(object),
        ("", "Service") => custom::service(object),
        ("", "Namespace") => custom::namespace(object),
        ("autoscaling", "HorizontalPodAutoscaler") => custom::autoscaler(object),
        ("policy", "PodDisruptionBudget") => custom::disruption_budget(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::definition(object),
        ("apiregistration.k8s.io", "APIService") => custom::api_service(object),
        ("postgresql.cnpg.io", "Cluster") => custom::database_cluster(object),
        (group, kind) if !says_something(&GroupKind::new(group, kind)) => {
            Judgement::healthy("it is there")
        }
        _ => generic::ready(object),
    }
}
