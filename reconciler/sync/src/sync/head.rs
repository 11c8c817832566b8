//! Which commit runs: the branch's head, if it proves what `spec.verify` asks.
//!
//! What was accepted stays in force until something better comes: a head that is refused, a branch
//! that is gone or a Repository that cannot be read change nothing in the target.

use jiff::Timestamp;
use kube::Resource as _;
use tidegate_cluster::Severity;
use tidegate_ids::CommitId;
use tidegate_schemas::{HeadVerification, RefusedHead, Revision};
use tidegate_source::{Commit, PublicKey};

use super::actor::Actor;
use super::state::Problem;
use crate::{SourceError, clock};

/// Whether a head may be accepted after what was accepted before; else why not, in one sentence.
pub(super) fn verify(
    rules: &HeadVerification,
    accepted: Option<&Revision>,
    head: &Commit,
    descends: bool,
    now: Timestamp,
) -> Result<Revision, String> {
    let keys = keys(rules)?;
    head.verify(&keys).map_err(|error| error.to_string())?;
    for (key, value) in &rules.trailers {
        match head.trailer(key) {
            Some(stated) if stated == value => {}
            Some(stated) => {
                return Err(format!(
                    "its trailer {key} is {stated:?} and must be {value:?}: it was made for another place"
                ));
            }
            None => return Err(format!("it has no single trailer {key}, which must be {value:?}")),
        }
    }
    if let Some(accepted) = accepted.filter(|_| !descends) {
        return Err(format!(
            "it does not descend from {}, which was accepted last: the branch was rewritten or set back",
            accepted.commit.short()
        ));
    }
    let sequence = sequence(rules, accepted, head)?;
    if let Some(key) = &rules.not_after {
        let until = head.trailer(key).and_then(|text| text.parse::<Timestamp>().ok());
        match until {
            None => return Err(format!("it has no trailer {key} that is a time (RFC 3339)")),
            Some(until) if until < now => {
                return Err(format!(
                    "it had to be applied by {until} ({key}) and is too old: promote again"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Revision { commit: head.id.clone(), sequence })
}

fn keys(rules: &HeadVerification) -> Result<Vec<PublicKey>, String> {
    let parse = |(index, text): (usize, &String)| {
        text.parse().map_err(|error| format!("spec.verify.keys[{index}]: {error}"))
    };
    rules.keys.iter().enumerate().map(parse).collect()
}

fn sequence(
    rules: &HeadVerification,
    accepted: Option<&Revision>,
    head: &Commit,
) -> Result<Option<u64>, String> {
    let Some(key) = &rules.sequence else { return Ok(None) };
    let number: u64 = head
        .trailer(key)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("it has no trailer {key} that is a number"))?;
    match accepted.and_then(|revision| revision.sequence) {
        Some(last) if number <= last => Err(format!(
            "its {key} is {number}, and {last} was accepted already: an old commit was pushed again"
        )),
        _ => Ok(Some(number)),
    }
}

impl Actor {
    /// Looks at the branch; afterwards `status.accepted` is what should run.
    pub(super) async fn follow_branch(&mut self) {
        let spec = &self.state.object.spec;
        let source = match self.engine.sources.resolve(&self.namespace, &spec.source.repository) {
            Ok(source) => source,
            Err(error) => {
                let stalled = matches!(error, SourceError::Unknown(..));
                let reason = if stalled { "RepositoryUnknown" } else { "RepositoryUnreadable" };
                self.state.problem = Some(Problem { reason, message: error.to_string(), stalled });
                return;
            }
        };
        let heads = source.mirror.heads();
        let head = match heads.branch(&spec.source.branch) {
            Ok(head) => head.clone(),
            Err(error) => {
                let message = format!(
                    "Repository {}: {error}. What was applied stays; push the branch or correct spec.source.branch",
                    source.key
                );
                self.state.problem =
                    Some(Problem { reason: "BranchMissing", message, stalled: true });
                self.state.mirror = Some(source.mirror);
                return;
            }
        };
        self.state.problem = None;
        self.state.mirror = Some(source.mirror);
        self.consider(head).await;
    }

    async fn consider(&mut self, head: CommitId) {
        let accepted = self.state.status.accepted.clone();
        if accepted.as_ref().is_some_and(|revision| revision.commit == head) {
            self.state.status.refused = None;
            return;
        }
        let generation = self.state.object.metadata.generation;
        let refused = self.state.status.refused.clone();
        let known = refused.as_ref().is_some_and(|refused| refused.commit == head);
        if known && self.state.status.observed_generation == generation {
            return;
        }
        let Some(rules) = self.state.object.spec.verify.clone() else {
            self.accept(Revision { commit: head, sequence: None });
            return;
        };
        match self.judge(&rules, accepted.as_ref(), &head).await {
            Ok(Ok(revision)) => {
                self.accept(revision);
                // What was accepted is written before anything of it is applied: a crash must not
                // make an older commit acceptable again.
                self.write().await;
            }
            Ok(Err(reason)) => {
                let message = format!("commit {} is refused: {reason}", head.short());
                let since =
                    refused.filter(|r| r.commit == head).map_or_else(clock::now, |r| r.since);
                self.state.status.refused = Some(RefusedHead { commit: head, reason, since });
                let about = self.state.object.object_ref(&());
                let announcer = &self.engine.announcer;
                announcer.announce(&about, Severity::Warning, "HeadRefused", &message).await;
            }
            Err(error) => {
                self.state.problem = Some(Problem {
                    reason: "RepositoryUnreadable",
                    message: error.to_string(),
                    stalled: false,
                });
                self.state.retry.later();
            }
        }
    }

    fn accept(&mut self, revision: Revision) {
        self.state.status.refused = None;
        self.state.status.accepted = Some(revision);
        // What kept the former commit says nothing about this one.
        self.state.failure = None;
        self.state.waiting = None;
        self.state.retry.reset();
    }

    async fn judge(
        &self,
        rules: &HeadVerification,
        accepted: Option<&Revision>,
        head: &CommitId,
    ) -> Result<Result<Revision, String>, tidegate_source::Error> {
        let Some(mirror) = &self.state.mirror else {
            return Ok(Err("its repository is gone".to_owned()));
        };
        let snapshot = mirror.snapshot(head)?;
        let descends = match accepted {
            Some(revision) => mirror.is_ancestor(&revision.commit, head).await?,
            None => true,
        };
        Ok(verify(rules, accepted, snapshot.details(), descends, clock::now()))
    }
}
