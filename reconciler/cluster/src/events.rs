//! Kubernetes Events, on change only.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::Cluster;

/// The API server's limit of a note, in bytes.
const LONGEST_NOTE: usize = 1000;

/// How much attention an Event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// To be known.
    Normal,
    /// To be looked at.
    Warning,
}

/// Writes Events about Tidegate's objects.
#[derive(Clone)]
pub struct Announcer(Recorder);

impl Announcer {
    /// In the name of this controller, such as `tidegate-sync`.
    #[must_use]
    pub fn new(cluster: &Cluster, controller: &str) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance: None };
        Self(Recorder::new(cluster.client(), reporter))
    }

    /// Writes one Event. One that cannot be written is logged and otherwise lost: Events are for
    /// people who look on, the status is what counts.
    pub async fn announce(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        note: &str,
    ) {
        let mut end = note.len().min(LONGEST_NOTE);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, about).await {
            tracing::warn!(%error, reason, "an Event could not be written");
        }
    }
}
