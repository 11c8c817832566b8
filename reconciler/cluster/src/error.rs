//! What the API server refuses, sorted by whose fault it is.
//!
//! Answers are classified once, here: the same HTTP code means a missing right, a used-up quota, a
//! namespace that goes away, or an admission policy that said no.

use kube::core::Status;
use tidegate_ids::GroupKind;
use tidegate_schemas::Cause;

/// Why something could not be done in a cluster. `what` names the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection's configuration cannot be used.
    #[error("cannot use {what} to reach a cluster: {why}")]
    Configuration {
        /// The file or URL.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer.
    #[error(
        "cannot {doing} {what}: the API server does not answer ({why}); it is tried again until it does"
    )]
    Unreachable {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What happened.
        why: String,
    },
    /// The server is overloaded or fails.
    #[error("cannot {doing} {what}: the API server cannot take it now ({why}); it is tried again")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said.
        why: String,
    },
    /// A right is missing.
    #[error(
        "cannot {doing} {what}: {why}. The account needs this right: `tidegate bootstrap` prints the roles and bindings of deployer accounts, `tidegate install` those of the engine"
    )]
    Forbidden {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said: who lacks which verb on what.
        why: String,
    },
    /// A quota is used up.
    #[error("cannot {doing} {what}: {why}. Raise the ResourceQuota or ask for less")]
    Quota {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said.
        why: String,
    },
    /// An admission webhook does not answer.
    #[error(
        "cannot {doing} {what}: an admission webhook does not work: {why}. Repair the webhook's service; it is tried again"
    )]
    Webhook {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said.
        why: String,
    },
    /// The namespace is missing or goes away.
    #[error("cannot {doing} {what}: {why}. `tidegate bootstrap` creates target namespaces")]
    Namespace {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said.
        why: String,
    },
    /// It is not there.
    #[error("cannot {doing} {what}: it is not there")]
    NotFound {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
    },
    /// It changed meanwhile.
    #[error("cannot {doing} {what}: it changed meanwhile ({why}); it is tried again")]
    Conflict {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said.
        why: String,
    },
    /// The cluster serves no such kind.
    #[error(
        "the cluster does not serve the kind {kind}: install its CustomResourceDefinition first (its operator brings it), or correct apiVersion and kind"
    )]
    UnknownKind {
        /// The kind.
        kind: GroupKind,
    },
    /// The cluster serves the kind, but not in this version.
    #[error(
        "the cluster does not serve {kind} as {api_version}: state the apiVersion that `kubectl explain` shows for it"
    )]
    UnknownVersion {
        /// The kind.
        kind: GroupKind,
        /// The version that was stated.
        api_version: String,
    },
    /// A field that cannot be changed.
    #[error(
        "cannot {doing} {what}: {why}. Such a field cannot be changed in place: give the object another name, or delete it first"
    )]
    Immutable {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// What the server said: which field.
        why: String,
    },
    /// The content is not accepted.
    #[error("cannot {doing} {what}{origin}: {why}")]
    Invalid {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        what: String,
        /// Where it was read from, as ` (from x.yaml)`; empty where unknown.
        origin: String,
        /// What the server said: which field and why.
        why: String,
    },
}

impl Error {
    /// Whose fault it is.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::UnknownKind { .. }
            | Self::UnknownVersion { .. }
            | Self::Immutable { .. }
            | Self::Invalid { .. } => Cause::Content,
            _ => Cause::Cluster,
        }
    }

    /// Whether the object is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Classifies what the client returned. `origin` is the file of the object, or empty.
    #[must_use]
    pub fn of(doing: &'static str, what: &str, origin: &str, error: &kube::Error) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => Self::answer(doing, what, origin, status),
            other => Self::Unreachable { doing, what, why: innermost(other) },
        }
    }

    pub(crate) fn late(doing: &'static str, what: &str, seconds: u64) -> Self {
        let why = format!("no answer within {seconds} s");
        Self::Unreachable { doing, what: what.to_owned(), why }
    }

    fn answer(doing: &'static str, what: String, origin: &str, status: &Status) -> Self {
        let why = words(&what, status);
        let message = status.message.as_str();
        let origin = if origin.is_empty() { String::new() } else { format!(" (from {origin})") };
        let going = status.details.iter().flat_map(|d| &d.causes);
        if going.clone().any(|c| c.reason == "NamespaceTerminating") {
            return Self::Namespace { doing, what, why };
        }
        match status.code {
            403 if message.contains("exceeded quota") => Self::Quota { doing, what, why },
            403 if message.contains("cannot ") || message.contains("attempting to grant") => {
                Self::Forbidden { doing, what, why }
            }
            401 => Self::Forbidden { doing, what, why },
            404 if message.starts_with("namespaces ") => Self::Namespace { doing, what, why },
            404 => Self::NotFound { doing, what },
            409 => Self::Conflict { doing, what, why },
            500 if message.contains("failed calling webhook") => Self::Webhook { doing, what, why },
            // Server-side apply answers so to content that does not fit the kind's schema.
            500 if message.contains("failed to create typed patch object") => {
                Self::Invalid { doing, what, origin, why }
            }
            429 | 500 | 502..=504 => Self::Unavailable { doing, what, why },
            422 if message.contains("immutable") || message.contains("may not change") => {
                Self::Immutable { doing, what, why }
            }
            422 if message.contains("updates to statefulset spec for fields other than") => {
                Self::Immutable { doing, what, why }
            }
            _ => Self::Invalid { doing, what, origin, why },
        }
    }
}

/// The server's words in one line; for a Secret, whose values they may hold, only which fields.
fn words(what: &str, status: &Status) -> String {
    if what.starts_with("Secret ") && matches!(status.code, 400 | 422 | 500) {
        let fields: Vec<&str> = status
            .details
            .iter()
            .flat_map(|d| &d.causes)
            .map(|c| c.field.as_str())
            .filter(|f| !f.is_empty())
            .collect();
        let fields =
            if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        return format!(
            "it is not valid{fields} (the server's words are left out, they may hold values)"
        );
    }
    let words = if status.message.is_empty() { &status.reason } else { &status.message };
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(1000).collect()
}

fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> Error {
        let status = Status { code, message: message.into(), ..Status::default() };
        Error::of("apply", "ConfigMap a/b", "b.yaml", &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn an_answer_tells_whose_fault_it_is() {
        let cases = [
            (
                403,
                "configmaps \"b\" is forbidden: User \"x\" cannot patch resource",
                Cause::Cluster,
            ),
            (403, "pods \"b\" is forbidden: exceeded quota: small", Cause::Cluster),
            (404, "namespaces \"a\" not found", Cause::Cluster),
            (429, "too many requests", Cause::Cluster),
            (500, "Internal error occurred: failed calling webhook \"x\"", Cause::Cluster),
            (
                500,
                "failed to create typed patch object (a/b): .data.x: field not declared in schema",
                Cause::Content,
            ),
            (400, "strict decoding error: unknown field \"spec.replica\"", Cause::Content),
            (403, "admission webhook \"x\" denied the request: no", Cause::Content),
            (422, "spec.selector: Invalid value: field is immutable", Cause::Content),
        ];
        for (code, message, cause) in cases {
            assert_eq!(of(code, message).cause(), cause, "{code} {message}");
        }
    }

    #[test]
    fn a_missing_right_names_the_way_out() {
        let error = of(403, "User \"x\" cannot patch resource \"configmaps\"").to_string();
        assert!(error.contains("ConfigMap a/b") && error.contains("tidegate bootstrap"), "{error}");
    }

    #[test]
    fn a_secrets_values_are_in_no_message() {
        let status = Status { code: 400, message: "got hunter2".into(), ..Status::default() };
        let error = Error::of("apply", "Secret a/b", "", &kube::Error::Api(Box::new(status)));
        assert!(!error.to_string().contains("hunter2"));
    }
}
