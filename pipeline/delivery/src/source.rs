//! The pipeline's source: the newest commit that counts, and who made the commits
//! between two points.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt as _;
use tidegate_gates::{Authors, People};
use tidegate_ids::CommitId;
use tidegate_schemas::{Pipeline, PipelineStatus, SourceCommit};
use tidegate_source::{Commit, Mirror, PublicKey};

use crate::engine::Engine;

/// How many commits between two points are looked at.
const HISTORY: usize = 1000;

/// A source, read.
pub struct Read {
    /// Its mirror.
    pub mirror: Arc<Mirror>,
    /// The commit that counts.
    pub commit: SourceCommit,
}

/// Reads the head of the pipeline's branch and, where the Repository asks for it, checks that every
/// commit since the last one that counted is signed by somebody of a Roster.
///
/// # Errors
/// One sentence that says what is wrong and the way out.
pub async fn read(
    engine: &Engine,
    pipeline: &Pipeline,
    status: &PipelineStatus,
) -> Result<Read, String> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let source = &pipeline.spec.source;
    let repository =
        engine.sources.resolve(&namespace, &source.repository).map_err(|e| e.to_string())?;
    let mirror = repository.mirror.clone();
    let heads = mirror.heads();
    let head = heads.branch(&source.branch).map_err(|e| e.to_string())?;
    let snapshot = mirror.snapshot(head).map_err(|e| e.to_string())?;
    let people = engine.world.people();
    let signed = repository.spec.verify.is_some();
    if signed && status.commit.as_ref() != Some(head) {
        let since = known(&mirror, status.commit.as_ref(), head).await;
        let commits = match since {
            Some(since) => {
                mirror.commits(Some(since), head, HISTORY).await.map_err(|e| e.to_string())?
            }
            None => vec![snapshot.details().clone()],
        };
        for commit in &commits {
            signer(commit, &people).map_err(|why| {
                format!(
                    "commit {} ({:?}) does not count: {why}; sign it with a key that a Roster lists, or leave spec.verify out of the Repository",
                    commit.id.short(),
                    commit.subject()
                )
            })?;
        }
    }
    Ok(Read { commit: describe(snapshot.details(), &people), mirror })
}

/// The last commit that counted, if the head descends from it.
async fn known<'a>(
    mirror: &Mirror,
    last: Option<&'a CommitId>,
    head: &CommitId,
) -> Option<&'a CommitId> {
    let last = last?;
    mirror.is_ancestor(last, head).await.unwrap_or(false).then_some(last)
}

fn describe(commit: &Commit, people: &People) -> SourceCommit {
    SourceCommit {
        commit: commit.id.clone(),
        author: format!("{} <{}>", commit.author.name, commit.author.email),
        signer: signer(commit, people).ok(),
        title: commit.subject().chars().take(200).collect(),
        time: commit.time,
    }
}

/// Who signed a commit, by the Rosters.
fn signer(commit: &Commit, people: &People) -> Result<String, String> {
    let keys: Vec<PublicKey> = people.keys().filter_map(|k| k.parse().ok()).collect();
    let key = commit.verify(&keys).map_err(|e| e.to_string())?;
    people
        .signer(&key.to_string())
        .map(ToOwned::to_owned)
        .ok_or_else(|| "its key belongs to nobody of a Roster".to_owned())
}

/// Who signed the commits after `from` up to `to`. Content that was there before comes back by a
/// newer commit, so where `to` is no descendant of `from`, the commits up to the source's `head`
/// count instead; where that is none either, nobody can tell.
pub async fn authors(
    mirror: &Mirror,
    people: &People,
    from: Option<&CommitId>,
    to: &CommitId,
    head: Option<&CommitId>,
) -> Authors {
    let to = match from {
        None => to,
        Some(from) => {
            let descends = async |commit: &CommitId| {
                commit == from || mirror.is_ancestor(from, commit).await.unwrap_or(false)
            };
            match head {
                _ if to != from && descends(to).await => to,
                Some(head) if descends(head).await => head,
                _ => {
                    return Authors::Unknown(format!(
                        "commit {} does not descend from {}, whose content runs there: the source branch was rewritten",
                        to.short(),
                        from.short()
                    ));
                }
            }
        }
    };
    let commits = match mirror.commits(from, to, HISTORY + 1).await {
        Ok(commits) if commits.len() > HISTORY => {
            return Authors::Unknown(format!(
                "more than {HISTORY} commits lie between what runs and this release"
            ));
        }
        Ok(commits) => commits,
        Err(error) => return Authors::Unknown(error.to_string()),
    };
    let mut authors = BTreeSet::new();
    for commit in &commits {
        match signer(commit, people) {
            Ok(name) => authors.insert(name),
            Err(why) => return Authors::Unknown(format!("commit {}: {why}", commit.id.short())),
        };
    }
    Authors::Known(authors)
}
