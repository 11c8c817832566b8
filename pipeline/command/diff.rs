//! `tidegate diff`: what a promotion would change, read from Git by this program itself.
//!
//! It believes nobody: the rendered set is the one whose digest the promotion states, or
//! nothing is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use tidegate_manifest::Set;
use tidegate_release::ReleaseId;
use tidegate_release::deploy::{MANIFESTS, release_set};
use tidegate_schemas::{Pipeline, Promotion, PromotionStatus, Release, Repository, RepositorySpec};
use tidegate_source::{Credentials, Limits, Mirror, Mirrors};

use crate::changes::Changes;
use crate::failure::{Failure, from_api};
use crate::session::{Connection, Session, show};
use crate::story::{headline, image_changes};
use crate::text::safe;

/// How long fetching may take.
const FETCH: Duration = Duration::from_mins(2);

/// Shows what a promotion would change, object by object.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The promotion.
    pub promotion: String,
    /// Only the summary.
    #[arg(long)]
    pub summary: bool,
}

/// Shows it.
///
/// # Errors
/// When the promotion, its release or the repository cannot be read.
pub async fn run(connection: &Connection, args: &Args) -> Result<(), Failure> {
    let session = connection.open().await?;
    let promotion: Promotion = session.one(&args.promotion).await?;
    let release: Release = session.one(&promotion.spec.release).await?;
    let status = promotion.status.clone().unwrap_or_default();
    let replaced: Option<Release> =
        match &status.replaces {
            Some(held) => session.here().get_opt(&held.release).await.map_err(|error| {
                from_api(&format!("reading the Release {}", held.release), &error)
            })?,
            None => None,
        };
    let pipeline: Pipeline = session.one(promotion.spec.pipeline.as_str()).await?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::from(format!("making a temporary folder: {error}")))?;
    let mirror = fetched(&session, &pipeline, folder.path()).await?;
    let new = promoted(&mirror, &promotion, &release)?;
    let old = replaces(&mirror, &status)?;
    let changes = Changes::between(&old, &new);
    let mut text = safe(&headline(&promotion)) + "\n";
    for line in image_changes(&release, replaced.as_ref()) {
        text.push_str(&safe(&line));
        text.push('\n');
    }
    text.push_str(&changes.summary());
    if let Some(change) = status.change {
        let _infallible = writeln!(text, "change {change}");
    }
    if !args.summary {
        text.push_str(&changes.to_text());
    }
    show(&text)
}

async fn fetched(
    session: &Session,
    pipeline: &Pipeline,
    folder: &std::path::Path,
) -> Result<Arc<Mirror>, Failure> {
    let stated = pipeline.spec.source.repository.as_str();
    let (namespace, name) = stated.split_once('/').unwrap_or((&session.namespace, stated));
    let api: Api<Repository> = Api::namespaced(session.client.clone(), namespace);
    let repository = api
        .get(name)
        .await
        .map_err(|error| from_api(&format!("reading the Repository {namespace}/{name}"), &error))?;
    let credentials = credentials(session, namespace, &repository.spec).await?;
    let anonymous = credentials.is_none() && repository.spec.credentials.is_some();
    let git = |doing: &str, error: &tidegate_source::Error| {
        let hint = if anonymous {
            "; you may not read its credentials, so it was asked without any: ask somebody who may"
        } else {
            ""
        };
        Failure::from(format!("{doing} {}: {error}{hint}", repository.spec.url))
    };
    let mirrors = Mirrors::new(folder.to_owned(), Limits::default())
        .map_err(|e| git("preparing to read", &e))?;
    let mirror =
        mirrors.mirror(&repository.spec.url, credentials).map_err(|e| git("reading", &e))?;
    mirror.fetch(FETCH).await.map_err(|e| git("fetching", &e))?;
    Ok(mirror)
}

/// From the Repository's Secret, where this person may read it; else none.
async fn credentials(
    session: &Session,
    namespace: &str,
    spec: &RepositorySpec,
) -> Result<Credentials, Failure> {
    let Some(reference) = &spec.credentials else { return Ok(Credentials::none()) };
    let api: Api<Secret> = Api::namespaced(session.client.clone(), namespace);
    let secret = match api.get(&reference.secret).await {
        Ok(secret) => secret.data.unwrap_or_default(),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            return Ok(Credentials::none());
        }
        Err(error) => return Err(from_api("reading the Repository's credentials", &error)),
    };
    let text = |key: &str| {
        let bytes = secret.get(key)?;
        let text = std::str::from_utf8(&bytes.0).ok()?.trim();
        (!text.is_empty()).then_some(text)
    };
    // As the engine reads it: a token alone is the password of a user whose name forges ignore.
    let pair = match (text("username"), text("password"), text("token")) {
        (Some(username), Some(password), _) => (username, password),
        (Some(username), None, Some(token)) => (username, token),
        (None, _, Some(token)) => ("x-token-auth", token),
        _ => return Ok(Credentials::none()),
    };
    Credentials::basic(pair.0, pair.1).map_err(|error| Failure::from(error.to_string()))
}

/// What the promotion brings: the release's kept set for this environment.
fn promoted(mirror: &Mirror, promotion: &Promotion, release: &Release) -> Result<Set, Failure> {
    let environment = &promotion.spec.environment;
    let (name, id) = (release.name_any(), ReleaseId::from(release.spec.id));
    let rendered = release
        .spec
        .rendered
        .get(environment)
        .ok_or_else(|| Failure::from(format!("{name} has no content for {environment}")))?;
    let reference = id.reference();
    let heads = mirror.heads();
    let commit = heads.get(&reference).ok_or_else(|| {
        Failure::from(format!(
            "the repository has no {reference}, where the content of {name} is kept: ask whoever runs Tidegate to restore it"
        ))
    })?;
    let files = read(mirror, commit, "")?;
    release_set(&files, environment, rendered.manifests)
        .map_err(|error| Failure::from(format!("reading {reference}: {error}")))
}

/// What runs there now; nothing where nothing did.
fn replaces(mirror: &Mirror, status: &PromotionStatus) -> Result<Set, Failure> {
    let files = match &status.replaces {
        Some(held) => read(mirror, &held.commit, MANIFESTS)?,
        None => BTreeMap::new(),
    };
    let set = Set::from_files(&files)
        .map_err(|error| Failure::from(format!("reading what runs: {error}")))?;
    match &status.replaces {
        Some(held) if set.digest() != held.manifests => Err(Failure::from(format!(
            "deploy commit {} does not hold what the promotion says it replaces ({} and not {}): look at the deploy branch before approving anything",
            held.commit,
            set.digest(),
            held.manifests
        ))),
        _ => Ok(set),
    }
}

fn read(
    mirror: &Mirror,
    commit: &tidegate_ids::CommitId,
    folder: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let failed = |error: tidegate_source::Error| {
        Failure::from(format!("reading commit {}: {error}", commit.short()))
    };
    mirror.snapshot(commit).and_then(|snapshot| snapshot.files(folder)).map_err(failed)
}
