//! The status of a Repository: written when something changed, and only then.

use kube::{Api, Resource as _, ResourceExt as _};
use tidegate_cluster::{Severity, Written, replace_status};
use tidegate_schemas::{
    Repository, RepositorySpec, RepositoryStatus, SecretRef, condition, set_condition,
};
use tidegate_source::{Error as GitError, Heads};

use super::{RepositoryKey, Sources};
use crate::clock;

/// How many heads a status holds.
const MOST_HEADS: usize = 100;
const TRIES: usize = 3;

/// How a look at a Repository went.
pub(super) enum Outcome<'a> {
    Fetched { heads: &'a Heads, hook: Option<&'a String> },
    Failed(&'a Problem),
}

/// Why a Repository cannot be read: a reason for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn of(error: &GitError, spec: &RepositorySpec) -> Self {
        let reason = match error {
            GitError::Url { .. } => "InvalidURL",
            GitError::Credentials { .. }
            | GitError::CredentialsRefused { .. }
            | GitError::CredentialsWanted { .. } => "CredentialsRefused",
            GitError::NoRepository { .. } => "NoRepository",
            GitError::Unreachable { .. } | GitError::Deadline { .. } => "Unreachable",
            GitError::Certificate { .. } => "CertificateNotTrusted",
            GitError::TooLarge { .. } => "TooLarge",
            _ => "FetchFailed",
        };
        let message = match (error, &spec.credentials) {
            (GitError::CredentialsRefused { .. }, Some(reference)) => {
                format!("{error} (spec.credentials names the Secret {})", reference.secret)
            }
            _ => error.to_string(),
        };
        Self { reason, message }
    }

    pub(super) fn secret(key: &RepositoryKey, reference: &SecretRef, why: &str) -> Self {
        let message = format!("Secret {}/{}: {why}", key.namespace, reference.secret);
        Self { reason: "SecretUnusable", message }
    }
}

/// Writes the status if it changed. False when it could not be written.
pub(super) async fn write(sources: &Sources, object: &Repository, outcome: &Outcome<'_>) -> bool {
    let mut current = object.clone();
    for _ in 0..TRIES {
        let next = compose(&current, outcome);
        if current.status.as_ref() == Some(&next) {
            return true;
        }
        let turned = turned(current.status.as_ref(), &next);
        current.status = Some(next);
        match replace_status(&sources.inner.cluster, &current).await {
            Ok(Written::Done(written)) => {
                keep(sources, &written);
                if let Some((severity, reason, note)) = turned {
                    let about = written.object_ref(&());
                    sources.inner.announcer.announce(&about, severity, &reason, &note).await;
                }
                return true;
            }
            Ok(Written::Gone) => return true,
            Ok(Written::Conflict) => {}
            Err(error) => {
                tracing::warn!(%error, "the status of a Repository could not be written");
                return false;
            }
        }
        let namespace = object.namespace().unwrap_or_default();
        let api = Api::<Repository>::namespaced(sources.inner.cluster.client(), &namespace);
        match api.get(&object.name_any()).await {
            Ok(newest) if newest.metadata.uid == object.metadata.uid => current = newest,
            _ => return false,
        }
    }
    false
}

/// The next write builds on what was written, even before the watch tells of it.
fn keep(sources: &Sources, written: &Repository) {
    if let Some(entry) = sources.known().get_mut(&RepositoryKey::of(written))
        && entry.object.metadata.uid == written.metadata.uid
    {
        entry.object = std::sync::Arc::new(written.clone());
    }
}

fn compose(object: &Repository, outcome: &Outcome<'_>) -> RepositoryStatus {
    let mut status = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    let (ready, reason, message) = match outcome {
        Outcome::Fetched { heads, hook } => {
            let branches = || {
                heads.iter().filter_map(|(name, id)| Some((name.strip_prefix("refs/heads/")?, id)))
            };
            status.heads =
                branches().take(MOST_HEADS).map(|(n, id)| (n.to_owned(), id.clone())).collect();
            status.hook = hook.map(|path| format!("/hooks/{path}"));
            let message = match branches().count() {
                0 => "it was fetched and has no branch yet: push one".to_owned(),
                1 => "it was fetched and has 1 branch".to_owned(),
                many => format!("it was fetched and has {many} branches"),
            };
            (true, "Fetched", message)
        }
        Outcome::Failed(problem) => (false, problem.reason, problem.message.clone()),
    };
    let conditions = &mut status.conditions;
    set_condition(conditions, "Ready", ready, reason, message, generation, clock::now());
    status
}

/// The Event that the step from one status to the next is worth.
fn turned(
    before: Option<&RepositoryStatus>,
    after: &RepositoryStatus,
) -> Option<(Severity, String, String)> {
    let ready = condition(&after.conditions, "Ready")?;
    let former = before.and_then(|s| condition(&s.conditions, "Ready"));
    if former.is_some_and(|f| f.status == ready.status && f.reason == ready.reason) {
        return None;
    }
    let severity = if ready.status == "True" { Severity::Normal } else { Severity::Warning };
    Some((severity, ready.reason.clone(), ready.message.clone()))
}
