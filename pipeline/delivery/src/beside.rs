//! Putting verification summaries beside their images, where anybody finds them.
//!
//! Git has them already. A registry that takes none, for want of a right or because it keeps no
//! such thing, is no reason to stop anything: what it said is noted beside the summary in Git and
//! in the pipeline's condition `Summaries`. A registry that is away is asked again. Either note
//! ends the work on a summary, also over a restart; the same one put there twice is one.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tidegate_ids::CommitId;
use tidegate_outbound::{Referrer, Registry, RepositoryName};
use tidegate_provenance::{BUNDLE as BUNDLE_TYPE, SUMMARY, Told};
use tidegate_schemas::{Pipeline, set_condition};
use tidegate_source::{Entry, Snapshot};

use crate::engine::Engine;
use crate::summaries::{Book, file, names, reference, signed_by};
use crate::world::PipelineKey;
use crate::{Error, clock};

/// How many summaries are put beside their images in one round, and how many at a time.
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
        let head = || source.mirror.heads().get(&reference).cloned();
        while let Some(looked_at) = head().filter(|head| done.0.get(&reference) != Some(head)) {
            let Round { more, away } = one(&book, &pipeline).await?;
            let left = !away.is_empty();
            later.extend(away);
            if left {
                break;
            }
            if !more {
                done.0.insert(reference.clone(), looked_at);
            }
        }
    }
    if later.is_empty() { Ok(()) } else { Err(Error::Source(later.join("; "))) }
}

/// What one round came to.
struct Round {
    /// Something was noted in Git: there may be more.
    more: bool,
    /// What has to be tried again.
    away: Vec<String>,
}

/// One environment, as many summaries as one round takes.
async fn one(book: &Book<'_>, pipeline: &Pipeline) -> Result<Round, Error> {
    let ring = book.engine.keys.ring(&book.key.namespace, book.environment.as_str()).await?;
    let registry = book.engine.registries.of(book.key, pipeline).await.map_err(Error::Source)?;
    let (ring, registry) = (&ring, &registry);
    let pushes = pending(book).await?.into_iter().filter_map(|(path, bundle)| {
        let told = signed_by(ring, &bundle)?;
        Some(async move { (path, push(registry, told, bundle).await) })
    });
    let outcomes: Vec<_> = stream::iter(pushes).buffer_unordered(IN_FLIGHT).collect().await;
    let (mut notes, mut refused, mut away) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (path, outcome) in outcomes {
        let note = match outcome {
            Outcome::There(digest) => format!("beside the image as {digest}\n"),
            Outcome::Refused(why) => {
                let note = format!("kept in Git only: {why}\n");
                refused.push(why);
                note
            }
            Outcome::Later(why) => {
                away.push(why);
                continue;
            }
        };
        notes.insert(format!("{path}{NOTE}"), note.into_bytes());
    }
    let more = !notes.is_empty();
    if more {
        // The note ends the work on a summary, so it comes last.
        tell(book.engine, pipeline, &refused, clock::now()).await?;
        if !book.add(ring, notes, clock::now()).await? {
            away.push(book.moved().to_string());
        }
    }
    Ok(Round { more, away })
}

/// The summaries without a note, at most as many as one round takes.
async fn pending(book: &Book<'_>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let Some(snapshot) = book.snapshot(book.environment)? else { return Ok(Vec::new()) };
    // There may be many by the years.
    let read = tokio::task::spawn_blocking(move || without_note(&snapshot)).await;
    read.map_err(|error| Error::Content(error.to_string()))?
}

fn without_note(snapshot: &Snapshot) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    let root = snapshot.entry("").map_err(Error::git("reading verification summaries"))?;
    let Entry::Directory(folders) = root else { return Ok(found) };
    for folder in folders.iter().filter_map(|folder| folder.strip_suffix('/')) {
        for path in names(snapshot, folder)? {
            let note = format!("{path}{NOTE}");
            let noted =
                snapshot.tree_id(&note).map_err(Error::git("reading verification summaries"))?;
            if noted.is_some() {
                continue;
            }
            if let Some(bundle) = file(snapshot, &path)? {
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
    engine.write_pipeline(pipeline, status).await
}
