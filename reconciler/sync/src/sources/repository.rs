//! The task of one Repository: fetch, tell, wait.

use std::sync::Arc;
use std::time::Duration;

use tidegate_cluster::SecretData;
use tidegate_ids::Digest;
use tidegate_schemas::{Repository, RepositorySpec, SecretRef};
use tidegate_source::{Credentials, Heads, Mirror};
use tokio::sync::Notify;

use super::status::{self, Outcome, Problem};
use super::{Hook, RepositoryKey, Sources};

const FETCH_DEADLINE: Duration = Duration::from_mins(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// What the task keeps between fetches.
#[derive(Default)]
struct Kept {
    /// Credentials and webhook, and the spec they were read for.
    secrets: Option<(Arc<RepositorySpec>, Secrets)>,
    failures: u32,
}

#[derive(Clone, Default)]
struct Secrets {
    credentials: Credentials,
    hook: Option<Hook>,
}

/// Fetches at the start, when woken, and after the interval of the spec, which is a safety net.
pub(super) async fn follow(sources: Sources, key: RepositoryKey, wake: Arc<Notify>) {
    let mut kept = Kept::default();
    loop {
        let Some(object) = sources.known().get(&key).map(|entry| Arc::clone(&entry.object)) else {
            // The object was not put into the map yet, or was taken out: it ends us then.
            tokio::task::yield_now().await;
            continue;
        };
        let spec = Arc::new(object.spec.clone());
        let outcome = look(&sources, &key, &object, &spec, &mut kept).await;
        let pause = if outcome.is_ok() {
            spec.interval.to_std().max(sources.inner.min_interval)
        } else {
            let pause = FIRST_RETRY.saturating_mul(1 << kept.failures.min(6));
            kept.failures += 1;
            kept.secrets = None;
            pause.min(LONGEST_RETRY)
        };
        let written = tell(&sources, &key, &object, outcome).await;
        let pause = if written { pause } else { FIRST_RETRY };
        if tokio::time::timeout(pause, wake.notified()).await.is_err() {
            kept.secrets = None;
        }
    }
}

/// Reads the Secrets and fetches.
async fn look(
    sources: &Sources,
    key: &RepositoryKey,
    object: &Repository,
    spec: &Arc<RepositorySpec>,
    kept: &mut Kept,
) -> Result<(Arc<Mirror>, Heads, Option<Hook>), Problem> {
    let known = kept.secrets.as_ref().filter(|(of, _)| of == spec);
    let secrets = match known {
        Some((_, secrets)) => secrets.clone(),
        None => read_secrets(sources, key, object, spec).await?,
    };
    kept.secrets = Some((Arc::clone(spec), secrets.clone()));
    let mirror = sources
        .inner
        .mirrors
        .mirror(&spec.url, secrets.credentials)
        .map_err(|error| Problem::of(&error, spec))?;
    let heads = mirror.fetch(FETCH_DEADLINE).await.map_err(|error| Problem::of(&error, spec))?;
    kept.failures = 0;
    Ok((mirror, heads, secrets.hook))
}

async fn read_secrets(
    sources: &Sources,
    key: &RepositoryKey,
    object: &Repository,
    spec: &RepositorySpec,
) -> Result<Secrets, Problem> {
    let credentials = match &spec.credentials {
        None => Credentials::none(),
        Some(reference) => {
            let secret = secret(sources, key, reference, "spec.credentials").await?;
            credentials(&secret).map_err(|why| Problem::secret(key, reference, &why))?
        }
    };
    let hook = match &spec.webhook {
        None => None,
        Some(reference) => {
            let secret = secret(sources, key, reference, "spec.webhook").await?;
            let token = secret.text("token").ok_or_else(|| {
                Problem::secret(key, reference, "it has no `token`, which signs webhook calls")
            })?;
            let uid = object.metadata.uid.clone().unwrap_or_default();
            hook_path(&uid, token).map(|path| Hook { path, token: token.to_owned() })
        }
    };
    Ok(Secrets { credentials, hook })
}

/// The path tells nothing of the token, and nobody without it can guess the path.
fn hook_path(uid: &str, token: &str) -> Option<String> {
    Digest::tagged("tidegate-hook/v1", &(uid, token)).ok().map(|digest| digest.hex())
}

async fn secret(
    sources: &Sources,
    key: &RepositoryKey,
    reference: &SecretRef,
    field: &str,
) -> Result<SecretData, Problem> {
    let read = sources.inner.cluster.secret(&key.namespace, &reference.secret).await;
    read.map_err(|error| {
        let missing = error.is_not_found();
        let why = if missing {
            format!("{field} names it and it does not exist: create it")
        } else {
            error.to_string()
        };
        Problem::secret(key, reference, &why)
    })
}

/// A `token` alone is sent as the password of a user whose name the big forges ignore; Bitbucket
/// wants this one.
fn credentials(secret: &SecretData) -> Result<Credentials, String> {
    const TOKEN_USER: &str = "x-token-auth";
    let pair = match (secret.text("username"), secret.text("password"), secret.text("token")) {
        (Some(username), Some(password), _) => (username, password),
        (Some(username), None, Some(token)) => (username, token),
        (None, _, Some(token)) => (TOKEN_USER, token),
        _ => return Err("it must hold `username` and `password`, or `token`".to_owned()),
    };
    Credentials::basic(pair.0, pair.1).map_err(|error| error.to_string())
}

/// Takes the outcome in, writes the status, and tells the subscribers of news. False when the status
/// could not be written.
async fn tell(
    sources: &Sources,
    key: &RepositoryKey,
    object: &Repository,
    outcome: Result<(Arc<Mirror>, Heads, Option<Hook>), Problem>,
) -> bool {
    let (news, moved) = {
        let mut known = sources.known();
        let Some(entry) = known.get_mut(key) else { return true };
        match &outcome {
            Ok((mirror, heads, hook)) => {
                let news = entry.heads.as_ref() != Some(heads);
                let former = entry.mirror.replace(Arc::clone(mirror));
                let moved = former.is_some_and(|former| !Arc::ptr_eq(&former, mirror));
                entry.heads = Some(heads.clone());
                entry.problem = None;
                entry.hook.clone_from(hook);
                (news, moved)
            }
            Err(problem) => {
                let news =
                    entry.heads.is_none() && entry.problem.as_ref() != Some(&problem.message);
                entry.problem = Some(problem.message.clone());
                (news, false)
            }
        }
    };
    if news {
        sources.changed(key);
    }
    if moved {
        // Another URL or other credentials: the former mirror is of no use any more.
        let sources = sources.clone();
        tokio::task::spawn_blocking(move || sources.inner.mirrors.sweep());
    }
    let outcome = match &outcome {
        Ok((_, heads, hook)) => Outcome::Fetched { heads, hook: hook.as_ref().map(|h| &h.path) },
        Err(problem) => Outcome::Failed(problem),
    };
    status::write(sources, object, &outcome).await
}
