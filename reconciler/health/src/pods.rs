//! Pods: how one is, and what the pods of a workload say about it.
//!
//! A failed pod is not a failed workload: nodes evict pods, and what failed once is replaced. What
//! counts is that pods of the *newest* revision fail, again or with nothing else available.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Judgement;
use crate::fields::{condition, holds, items, number, text, time};

/// What belongs to a workload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Related {
    /// The `ReplicaSet`s of a Deployment's selector.
    pub replica_sets: Vec<Value>,
    /// The pods of the selector.
    pub pods: Vec<Value>,
}

/// While a workload is fully available, only failures this recent count.
const RECENT: SignedDuration = SignedDuration::from_secs(60);

/// Reasons of failed pods that are the node's doing and not the content's.
const NODES_DOING: [&str; 8] = [
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
];

/// What is wrong with one pod.
struct Trouble {
    message: String,
    /// How many tries failed.
    failures: i64,
    at: Option<Timestamp>,
}

pub(crate) fn pod(object: &Value) -> Judgement {
    if text(object, "/status/phase") == "Failed" {
        return Judgement::failed(ended(object));
    }
    if let Some(trouble) = trouble(object) {
        return Judgement::failed(trouble.message);
    }
    if text(object, "/status/phase") == "Succeeded" {
        return Judgement::healthy("it has completed");
    }
    if holds(object, "Ready") {
        return Judgement::healthy("it is ready");
    }
    Judgement::progressing(waiting(object).unwrap_or_else(|| "it is not ready yet".to_owned()))
}

/// Whether the pods show that the workload fails: the message, and when to look again.
pub(crate) fn failure(
    workload: &Value,
    related: &Related,
    available: bool,
    now: Timestamp,
) -> Option<Judgement> {
    let revision = newest_revision(workload, related)?;
    let mut failing: Vec<(&Value, Trouble)> = related
        .pods
        .iter()
        .filter(|pod| text(pod, "/metadata/deletionTimestamp").is_empty())
        .filter(|pod| label(pod, revision.0) == revision.1)
        .filter_map(|pod| Some((pod, trouble(pod)?)))
        .collect();
    if available {
        failing.retain(|(_, t)| t.at.is_some_and(|at| now.duration_since(at) < RECENT));
    }
    failing.sort_by_key(|(_, t)| t.at);
    let failures: i64 = failing.iter().map(|(_, t)| t.failures).sum();
    let none_available = number(workload, "/status/availableReplicas")
        .or_else(|| number(workload, "/status/numberAvailable"))
        .unwrap_or(0)
        == 0;
    let (pod, last) = failing.last()?;
    if failures < 2 && (available || !none_available) {
        return None;
    }
    let times = if failures > 1 { format!(" ({failures} failures)") } else { String::new() };
    let message = format!("pod {}: {}{times}", text(pod, "/metadata/name"), last.message);
    let mut judgement = Judgement::failed(message);
    judgement.recheck = last.at.and_then(|at| at.checked_add(RECENT).ok()).filter(|_| available);
    Some(judgement)
}

/// Why pods of a workload do not run yet, where one of them says so.
pub(crate) fn reason_to_wait(related: &Related) -> Option<String> {
    let waits = |pod: &&Value| text(pod, "/metadata/deletionTimestamp").is_empty();
    related
        .pods
        .iter()
        .filter(waits)
        .find_map(|pod| Some(format!("pod {}: {}", text(pod, "/metadata/name"), waiting(pod)?)))
}

/// The label and value that mark the pods of the newest revision.
fn newest_revision<'a>(
    workload: &'a Value,
    related: &'a Related,
) -> Option<(&'static str, &'a str)> {
    const TEMPLATE: &str = "pod-template-hash";
    const REVISION: &str = "controller-revision-hash";
    let newest_pod = |key| {
        let newest = related.pods.iter().max_by_key(|p| text(p, "/metadata/creationTimestamp"))?;
        Some((key, label(newest, key)))
    };
    match text(workload, "/kind") {
        "Deployment" => {
            let uid = text(workload, "/metadata/uid");
            let own = |set: &&Value| {
                items(set, "/metadata/ownerReferences").any(|o| text(o, "/uid") == uid)
            };
            let newest = related.replica_sets.iter().filter(own).max_by_key(|set| {
                text(set, "/metadata/annotations/deployment.kubernetes.io~1revision")
                    .parse::<u64>()
                    .unwrap_or(0)
            });
            newest.map(|set| (TEMPLATE, label(set, TEMPLATE))).or_else(|| newest_pod(TEMPLATE))
        }
        "StatefulSet" => Some((REVISION, text(workload, "/status/updateRevision"))),
        "DaemonSet" => newest_pod(REVISION),
        _ => newest_pod(TEMPLATE),
    }
}

fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/status/initContainerStatuses").chain(items(pod, "/status/containerStatuses"))
}

fn trouble(pod: &Value) -> Option<Trouble> {
    if text(pod, "/status/phase") == "Failed" {
        let reason = text(pod, "/status/reason");
        let innocent = NODES_DOING.contains(&reason) || reason.starts_with("OutOf");
        return (!innocent).then(|| Trouble {
            message: ended(pod),
            failures: 1,
            at: failed_at(pod),
        });
    }
    containers(pod).find_map(|container| {
        let name = text(container, "/name");
        let restarts = number(container, "/restartCount").unwrap_or(0);
        let words = text(container, "/state/waiting/message");
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        let (message, failures) = match text(container, "/state/waiting/reason") {
            "CrashLoopBackOff" if restarts > 0 => {
                (format!("container {name} crashes again and again{words}"), restarts)
            }
            "ImagePullBackOff" | "InvalidImageName" => {
                (format!("the image of container {name} cannot be pulled{words}"), 2)
            }
            "ErrImagePull" => (format!("the image of container {name} cannot be pulled{words}"), 1),
            _ => return None,
        };
        let at = time(container, "/lastState/terminated/finishedAt").or_else(|| failed_at(pod));
        Some(Trouble { message, failures, at })
    })
}

/// How a failed pod ended.
fn ended(pod: &Value) -> String {
    let container = containers(pod)
        .find(|c| number(c, "/state/terminated/exitCode").is_some_and(|code| code != 0));
    match container {
        Some(c) => {
            let reason = text(c, "/state/terminated/reason");
            let code = number(c, "/state/terminated/exitCode").unwrap_or_default();
            format!("container {} ended with exit code {code} ({reason})", text(c, "/name"))
        }
        None => match (text(pod, "/status/reason"), text(pod, "/status/message")) {
            ("", "") => "it failed".to_owned(),
            (reason, "") => format!("it failed: {reason}"),
            (_, message) => format!("it failed: {message}"),
        },
    }
}

fn failed_at(pod: &Value) -> Option<Timestamp> {
    containers(pod)
        .filter_map(|c| time(c, "/state/terminated/finishedAt"))
        .max()
        .or_else(|| {
            items(pod, "/status/conditions").filter_map(|c| time(c, "/lastTransitionTime")).max()
        })
        .or_else(|| time(pod, "/metadata/creationTimestamp"))
}

/// Why a pod does not run, where it says so and time may heal it.
fn waiting(pod: &Value) -> Option<String> {
    if let Some(c) = condition(pod, "PodScheduled").filter(|c| c.status == "False") {
        return Some(format!("no node takes it: {}", c.words()));
    }
    containers(pod).find_map(|container| {
        let reason = text(container, "/state/waiting/reason");
        let message = text(container, "/state/waiting/message");
        let usual = matches!(reason, "" | "ContainerCreating" | "PodInitializing");
        (!usual)
            .then(|| format!("container {} waits: {reason} {message}", text(container, "/name")))
    })
}

/// A label selector as text; none when it would select every pod.
pub(crate) fn selector(object: &Value) -> Option<String> {
    let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let mut parts: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(object, "/spec/selector/matchExpressions") {
        let key = text(expression, "/key");
        let values: Vec<&str> = items(expression, "/values").filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}
