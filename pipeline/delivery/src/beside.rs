//! Putting verification summaries beside their images, where anybody finds them.
//!
//! Git has them already. A registry that takes none, for want of a right or because it keeps no
//! such thing, is no reason to stop anything: what it said is noted beside the summary in Git and
//! in the pipeline's condition `Summaries`. A registry that is away is asked again. Either note
//! ends the work on a summary, also over a restart; the same one put there twice is one.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_ids::CommitId;
use tidegate_outbound::{Referrer, Registry, RepositoryName};
use tidegate_provenance::{BUNDLE as BUNDLE_TYPE, SUMMARY, Told};
use tidegate_schemas::{Pipeline, set_condition};
use tidegate_source::Entry;

use crate::engine::Engine;
use crate::summaries::{Book, file, names, reference, signed_by};
use crate::world::PipelineKey;
use crate::{Error, clock};

/// How many summaries are put beside their images in one pass, and how many at a time.
const AT_ONCE: usize = 200;
const IN_FLIGHT: usize = 4;
/// The note beside a summary's file.
const NOTE: &str = ".registry";
/// The longest note.
const NOTE_LENGTH: usize = 1000;

/// The references that were looked through to the end.
#[derive(Default)]
pub struct Done(HashMap<String, CommitId>);

/// What became of one summary.
enum Outcome {
    /// It is beside its image.
    There(String),
    /// The registry does not take it.
    Refused(String),
    /// The registry is away.
    Later(String),
}

/// Puts every summary of a pipeline beside its image that is not there yet.
///
/// # Errors
/// When Git fails, or a registry does not answer now; it is tried again.
pub async fn pass(engine: &Engine, key: &PipelineKey, done: &mut Done) -> Result<(), Error> {
    let Some(pipeline) = engine.world.pipeline(key) else { return Ok(()) };
    let source = engine
        .sources
        .resolve(&key.namespace, &pipeline.spec.source.repository)
        .map_err(|e| Error::Source(e.to_string()))?;
    let mut later = Vec::new();
    for environment in &pipeline.spec.environments {
        let book = Book { engine, key, mirror: &source.mirror, before: &[], environment };
        let reference = reference(key, environment);
        let head = source.mirror.heads().get(&reference).cloned();
        let Some(head) = head.filter(|head| done.0.get(&reference) != Some(head)) else { continue };
        let away = one(&book, &pipeline).await?;
        if away.is_empty() && source.mirror.heads().get(&reference) == Some(&head) {
            done.0.insert(reference, head);
        }
        later.extend(away);
    }
    if later.is_empty() { Ok(()) } else { Err(Error::Source(later.join("; "))) }
}

/// One environment; gives what has to be tried again.
async fn one(book: &Book<'_>, pipeline: &Pipeline) -> Result<Vec<String>, Error> {
    let ring = book.engine.keys.ring(&book.key.namespace, book.environment.as_str()).await?;
    let registry = book.engine.registries.of(book.key, pipeline).await.map_err(Error::Source)?;
    let registry = &registry;
    let pending = pending(book)?;
    let pushes = pending.into_iter().filter_map(|(path, bundle)| {
        let told = signed_by(&ring, &bundle)?;
        Some(async move { (path, push(registry, told, bundle).await) })
    });
    let outcomes: Vec<_> = stream::iter(pushes).buffer_unordered(IN_FLIGHT).collect().await;
    let (mut notes, mut refused, mut later) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (path, outcome) in outcomes {
        let note = match outcome {
            Outcome::There(digest) => format!("beside the image as {digest}\n"),
            Outcome::Refused(why) => {
                refused.push(why.clone());
                format!("kept in Git only: {why}\n")
            }
            Outcome::Later(why) => {
                later.push(why);
                continue;
            }
        };
        notes.insert(format!("{path}{NOTE}"), note.into_bytes());
    }
    if notes.is_empty() {
        return Ok(later);
    }
    if !book.add(&ring, notes, clock::now()).await? {
        later.push(book.moved().to_string());
    }
    tell(book.engine, pipeline, &refused, clock::now()).await?;
    Ok(later)
}

/// The summaries without a note, at most as many as one pass takes.
fn pending(book: &Book<'_>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    let Some(snapshot) = book.snapshot(book.environment)? else { return Ok(found) };
    let root = snapshot.entry("").map_err(Error::git("reading verification summaries"))?;
    let Entry::Directory(folders) = root else { return Ok(found) };
    for folder in folders.iter().filter_map(|folder| folder.strip_suffix('/')) {
        for path in names(&snapshot, folder)? {
            let note = format!("{path}{NOTE}");
            let noted =
                snapshot.tree_id(&note).map_err(Error::git("reading verification summaries"))?;
            if noted.is_some() {
                continue;
            }
            if let Some(bundle) = file(&snapshot, &path)? {
                found.push((path, bundle));
            }
            if found.len() == AT_ONCE {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

async fn push(registry: &Registry, told: Told, bundle: Vec<u8>) -> Outcome {
    let name: RepositoryName = match told.image.repository.parse() {
        Ok(name) => name,
        Err(error) => return refused(&error),
    };
    let note = |key: &str, value: &str| (format!("dev.sigstore.bundle.{key}"), value.to_owned());
    let referrer = Referrer {
        artifact_type: BUNDLE_TYPE.to_owned(),
        annotations: BTreeMap::from([
            note("content", "dsse-envelope"),
            note("predicateType", SUMMARY),
            ("org.opencontainers.image.created".to_owned(), told.at.to_string()),
        ]),
        media_type: BUNDLE_TYPE.to_owned(),
        content: bundle,
    };
    let repository = registry.repository(name);
    match repository.push_referrer(told.image.digest, &referrer).await {
        Ok(digest) => Outcome::There(digest.to_string()),
        Err(
            error @ (tidegate_outbound::Error::Unreachable { .. }
            | tidegate_outbound::Error::Unavailable { .. }),
        ) => Outcome::Later(error.to_string()),
        Err(error) => refused(&error),
    }
}

fn refused(error: &tidegate_outbound::Error) -> Outcome {
    Outcome::Refused(error.to_string().chars().take(NOTE_LENGTH).collect())
}

/// Says in the pipeline where its newest summaries are.
async fn tell(
    engine: &Engine,
    pipeline: &Pipeline,
    refused: &[String],
    now: Timestamp,
) -> Result<(), Error> {
    let mut status = pipeline.status.clone().unwrap_or_default();
    let holds = refused.is_empty();
    let (reason, message) = match refused.first() {
        None => ("BesideImages", "verification summaries are beside their images".to_owned()),
        Some(why) => (
            "KeptInGitOnly",
            format!("{} verification summaries are kept in Git only: {why}", refused.len()),
        ),
    };
    let generation = pipeline.metadata.generation;
    set_condition(&mut status.conditions, "Summaries", holds, reason, message, generation, now);
    match engine.write_pipeline(pipeline, status).await {
        // Somebody wrote it in between; it is noted in Git, and said with the next summary.
        Err(Error::Conflict { .. }) => {
            tracing::debug!(pipeline = %pipeline.name_any(), "its condition Summaries could not be written");
            Ok(())
        }
        other => other,
    }
}
