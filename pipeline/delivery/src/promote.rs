//! Moving promotions on: gather facts, ask the pure machine, carry out its answer,
//! record it. The journal is written before each effect that it announces and
//! after each that it records; every step starts by looking whether it was done.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use tidegate_gates::{Decision, decide};
use tidegate_ids::{EnvironmentName, LaneName};
use tidegate_promotion::{Answered, Candidate, Later, Live, Needless, Step, needless, next};
use tidegate_provenance::ImageRef;
use tidegate_schemas::{Effective, Phase, Pipeline, Promotion, PromotionStatus, WatchReport};
use tidegate_source::Mirror;
use tidegate_sync::RepositoryKey;

use crate::engine::Engine;
use crate::facts::{self, Known, Sight};
use crate::journal::{self, Recent};
use crate::lane::{LaneState, Lanes, phase};
use crate::summaries::{Book, Finding};
use crate::world::PipelineKey;
use crate::{Error, clock, commit, create, ending, syncs, verified};

/// How many steps one promotion takes in one pass: more than the machine has phases.
const STEPS: usize = 12;
/// How long a fetch may take that a moved branch asks for.
const FETCH: std::time::Duration = std::time::Duration::from_secs(30);

/// One pass over every promotion of a pipeline. What fails holds up nothing else, and is said in the
/// pipeline's condition `Delivery`. Gives the time of the next pass.
///
/// # Errors
/// When something could not be read or written now. What was done stays done.
pub async fn pass(
    engine: &Engine,
    key: &PipelineKey,
    recent: &mut Recent,
) -> Result<Option<Timestamp>, Error> {
    let Some(pipeline) = engine.world.pipeline(key) else { return Ok(None) };
    // What is missing is said in the pipeline's condition by discovery.
    let Ok((effective, _)) = engine.world.effective(&pipeline) else { return Ok(None) };
    let mut troubles = syncs::keep(engine, key, &pipeline, &effective).await;
    let source = engine
        .sources
        .resolve(&key.namespace, &pipeline.spec.source.repository)
        .map_err(|e| Error::Source(e.to_string()))?;
    let pass =
        Pass { engine, key, pipeline: &pipeline, effective: &effective, mirror: &source.mirror };
    troubles.extend(create::wanted_promotions(&pass, recent).await);
    let mut again = None;
    for (environment, lane, name) in pass.open(recent) {
        match pass.advance(recent, &environment, &lane, &name).await {
            Ok(until) => again = earliest(again, until),
            Err(Error::Conflict { .. }) => again = earliest(again, Some(clock::now())),
            Err(error) => {
                pass.note(recent, &name, &error).await;
                troubles.push(format!("{name}: {error}"));
            }
        }
    }
    engine.tell_delivery(&pipeline, &troubles).await?;
    if troubles.is_empty() { Ok(again) } else { Err(Error::Troubles(troubles.join("; "))) }
}

/// What verification said of each image, where it said something.
fn findings(known: &Known) -> Vec<Finding> {
    let said = known.facts.images.iter().filter(|image| image.unknown.is_none());
    said.filter_map(|fact| {
        let (repository, digest) = fact.image.rsplit_once('@')?;
        let image = ImageRef { repository: repository.to_owned(), digest: digest.parse().ok()? };
        Some((image, fact.verdict.clone()))
    })
    .collect()
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What one pass works with.
pub struct Pass<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The pipeline's namespace and name.
    pub key: &'a PipelineKey,
    /// The pipeline.
    pub pipeline: &'a Arc<Pipeline>,
    /// The pipeline with every default filled in.
    pub effective: &'a Effective,
    /// The deploy repository.
    pub mirror: &'a Arc<Mirror>,
}

impl<'a> Pass<'a> {
    /// Every promotion that can still move, and those whose content may still become healthy or
    /// not. Ended ones of lanes that the pipeline no longer has are left as they are.
    fn open(&self, recent: &Recent) -> Vec<(EnvironmentName, LaneName, String)> {
        let promotions = recent.promotions(self.engine, self.key);
        let place = |p: &Promotion| (p.spec.environment.clone(), p.spec.lane.clone());
        let committed = |p: &&Promotion| p.status.as_ref().is_some_and(|s| s.commit.is_some());
        let last = |p: &Promotion| {
            let in_place = promotions.iter().filter(committed).rfind(|o| place(o) == place(p));
            in_place.is_some_and(|last| last.name_any() == p.name_any())
        };
        let known = |p: &Promotion| {
            let environment = self.effective.environment(&p.spec.environment);
            environment.is_some_and(|e| e.lane(&p.spec.lane).is_some())
        };
        let mut open: Vec<_> = promotions
            .iter()
            .filter(|p| !phase(p).is_final() || (known(p) && (journal::earns(p) || last(p))))
            .collect();
        // Somebody waits for those that still move.
        open.sort_by_key(|p| phase(p).is_final());
        open.into_iter()
            .map(|p| (p.spec.environment.clone(), p.spec.lane.clone(), p.name_any()))
            .collect()
    }

    /// Whether the pipeline itself no longer has this environment or lane.
    fn removed(&self, environment: &EnvironmentName, lane: &LaneName) -> bool {
        let spec = &self.pipeline.spec;
        !spec.environments.contains(environment) || spec.lanes.iter().all(|l| l.name != *lane)
    }

    /// Every lane of every environment as it is now. A lane whose content cannot be read is not
    /// among them: its gates are closed, and so are those that look at it.
    #[must_use]
    pub fn lanes(&self, promotions: &[Promotion]) -> Lanes<'a> {
        let mut lanes = HashMap::new();
        for environment in &self.effective.environments {
            for lane in &environment.lanes {
                let own = promotions
                    .iter()
                    .filter(|p| p.spec.environment == environment.name && p.spec.lane == lane.name)
                    .cloned()
                    .collect();
                let sync = self.engine.world.sync(&self.key.namespace, &lane.paths.sync);
                let looked = self.engine.looked.version(&self.key.namespace, &lane.paths.sync);
                let stated = &self.engine.stated;
                match LaneState::new(environment, lane, sync, stated, self.mirror, own, looked) {
                    Ok(state) => {
                        lanes.insert((environment.name.clone(), lane.name.clone()), state);
                    }
                    Err(error) => {
                        tracing::warn!(environment = %environment.name, lane = %lane.name, %error, "what this lane holds cannot be read");
                    }
                }
            }
        }
        lanes
    }

    /// Steps one promotion until it waits.
    async fn advance(
        &self,
        recent: &mut Recent,
        environment: &EnvironmentName,
        lane: &LaneName,
        name: &str,
    ) -> Result<Option<Timestamp>, Error> {
        for _ in 0..STEPS {
            let now = clock::now();
            let promotions = recent.promotions(self.engine, self.key);
            let lanes = self.lanes(&promotions);
            let Some(promotion) = promotions.iter().find(|p| p.name_any() == name) else {
                return Ok(None);
            };
            let Some(here) = lanes.get(&(environment.clone(), lane.clone())) else {
                if self.removed(environment, lane) {
                    let mut status = promotion.status.clone().unwrap_or_default();
                    status.ended_at = Some(now);
                    let why = Needless::Removed.to_string();
                    journal::enter(&mut status, Phase::Superseded, why, now);
                    recent.write(self.engine, promotion, status).await?;
                    return Ok(None);
                }
                return Err(Error::Source(format!(
                    "what lane {lane} of {environment} holds cannot be read; it is tried again"
                )));
            };
            let mut status = promotion.status.clone().unwrap_or_default();
            journal::record_health(&mut status, here, now);
            if status.phase.is_final() {
                recent.write(self.engine, promotion, status).await?;
                return Ok(None);
            }
            // What is on the branch was admitted; deciding again would judge it by its own effect.
            let ours = commit::find(self, here, promotion).await?;
            if let Some(why) = self.unfit(promotion).filter(|_| status.phase == Phase::Waiting) {
                status.ended_at = Some(now);
                journal::enter(&mut status, Phase::Refused, why, now);
                recent.write(self.engine, promotion, status).await?;
                return Ok(None);
            }
            let decided = match ours {
                None => self.decision(&lanes, here, promotion, now).await?,
                Some(_) => None,
            };
            let admitted = status.change;
            if let Some((known, decision)) = &decided {
                journal::record_decision(&mut status, known, decision, here, now)?;
            }
            let findings = decided.as_ref().map(|(known, _)| findings(known));
            let decision = decided.map(|(_, decision)| decision);
            let live = Live {
                decision: decision.as_ref(),
                moved: admitted != status.change,
                needless: self.needless(here, promotion),
                looked: here.looked,
                since: self.engine.since,
                branch: here.branch(ours),
                sync: here.view(),
                watch: here.lane.watch.clone(),
                deadline: here.lane.deadline,
            };
            let step = next(&status, &live, now);
            if let Some(findings) = &findings {
                self.sum_up(here, findings, &step, now).await?;
            }
            tracing::debug!(promotion = name, phase = %status.phase, ?step, "step");
            let waits = match &step {
                Step::Wait { until, .. } => Some(*until),
                _ => None,
            };
            self.carry_out(recent, here, promotion, status, step, decision.as_ref(), now).await?;
            if let Some(until) = waits {
                return Ok(until);
            }
        }
        Ok(Some(clock::now()))
    }

    /// Keeps what verification found: all of it before the commit, and refusals when they come.
    async fn sum_up(
        &self,
        here: &LaneState<'_>,
        findings: &[Finding],
        step: &Step,
        now: Timestamp,
    ) -> Result<(), Error> {
        let order = &self.pipeline.spec.environments;
        let place = order.iter().position(|e| *e == here.environment.name).unwrap_or(0);
        let book = Book {
            engine: self.engine,
            key: self.key,
            mirror: self.mirror,
            before: &order[..place],
            environment: &here.environment.name,
        };
        if let Step::Commit(planned) = step {
            return book.keep(findings, planned.at).await;
        }
        let refused: Vec<Finding> =
            findings.iter().filter(|(_, verdict)| !verdict.passed).cloned().collect();
        if !refused.is_empty()
            && let Err(error) = book.keep(&refused, now).await
        {
            // What is refused stays refused; its summary is made with the next look at it.
            tracing::warn!(environment = %here.environment.name, %error, "the summary of a refusal could not be kept");
        }
        Ok(())
    }

    async fn decision(
        &self,
        lanes: &Lanes<'_>,
        here: &LaneState<'_>,
        promotion: &Promotion,
        now: Timestamp,
    ) -> Result<Option<(Known, Decision)>, Error> {
        if !matches!(phase(promotion), Phase::Waiting | Phase::Admitted) {
            return Ok(None);
        }
        let Some(release) = self.engine.world.release(&self.key.namespace, &promotion.spec.release)
        else {
            return Err(Error::Content(format!(
                "there is no Release {} in namespace {}; see `tidegate get releases`",
                promotion.spec.release, self.key.namespace
            )));
        };
        let (rules, people) = (self.engine.rules().await, self.engine.world.people());
        let sight = Sight {
            engine: self.engine,
            key: self.key,
            lanes,
            order: &self.pipeline.spec.environments,
            mirror: self.mirror,
            rules: &rules,
            people: &people,
            now,
        };
        let known = facts::gather(&sight, here, promotion, &release).await?;
        let decision = decide(&known.facts, &known.policy, &people, now);
        Ok(Some((known, decision)))
    }

    #[allow(clippy::too_many_arguments, reason = "everything that one step was decided on")]
    async fn carry_out(
        &self,
        recent: &mut Recent,
        here: &LaneState<'_>,
        promotion: &Promotion,
        mut status: PromotionStatus,
        step: Step,
        decision: Option<&Decision>,
        now: Timestamp,
    ) -> Result<(), Error> {
        match step {
            Step::Wait { message, .. } => {
                if let Some(watch) = &mut status.watch {
                    watch.message.clone_from(&message);
                }
                status.message = message;
            }
            Step::Admit(planned) => {
                let why = decision.map_or_else(String::new, Decision::sentence);
                status.planned = Some(planned);
                journal::enter(&mut status, Phase::Admitted, why, now);
            }
            Step::Commit(planned) => {
                let Some(commit) = self.commit(here, promotion, &planned, decision).await? else {
                    return Ok(());
                };
                journal::committed(&mut status, commit, &here.lane.paths.branch, now);
            }
            Step::Committed(commit) => {
                journal::committed(&mut status, commit, &here.lane.paths.branch, now);
            }
            Step::Readmit(why) => {
                status.planned = None;
                journal::enter(&mut status, Phase::Waiting, why, now);
            }
            Step::Applied(why) => {
                status.applied_at = Some(now);
                journal::enter(&mut status, Phase::Applied, why, now);
            }
            Step::Watch(until) => {
                let length = here.lane.watch.length;
                let message = format!("watched for {length}");
                status.watch = Some(WatchReport { until, message: message.clone() });
                journal::enter(&mut status, Phase::Watching, message, now);
            }
            Step::End { phase, reason } => {
                let reason =
                    ending::effects(self, recent, here, promotion, phase, reason, now).await?;
                status.ended_at = Some(now);
                status.known_good = phase == Phase::Succeeded;
                journal::enter(&mut status, phase, reason, now);
            }
        }
        recent.write(self.engine, promotion, status).await
    }

    /// The commit, or nothing where the branch moved and was fetched again.
    async fn commit(
        &self,
        here: &LaneState<'_>,
        promotion: &Promotion,
        planned: &tidegate_schemas::PlannedCommit,
        decision: Option<&Decision>,
    ) -> Result<Option<tidegate_ids::CommitId>, Error> {
        let admitted = decision.and_then(Decision::admitted);
        let release = self.engine.world.release(&self.key.namespace, &promotion.spec.release);
        let (Some(admitted), Some(release)) = (admitted, release) else { return Ok(None) };
        // Before anything can be applied: the API server refuses pods with images that are not listed.
        verified::admit(self.engine, here.environment, &release).await?;
        let made = commit::make(self, here, promotion, &release, planned, admitted).await?;
        let repository = &self.pipeline.spec.source.repository;
        self.engine.sources.pushed(&RepositoryKey::stated(&self.key.namespace, repository));
        match made {
            commit::Outcome::Pushed(commit) => Ok(Some(commit)),
            commit::Outcome::Moved => {
                self.mirror
                    .fetch(FETCH)
                    .await
                    .map_err(Error::git("fetching after the branch moved"))?;
                Ok(None)
            }
        }
    }

    /// Why a promotion can never be what it says, if so.
    fn unfit(&self, promotion: &Promotion) -> Option<String> {
        let spec = &promotion.spec;
        let name = &spec.release;
        let Some(release) = self.engine.world.release(&self.key.namespace, name) else {
            return Some(format!("there is no Release {name} here; see tidegate get releases"));
        };
        if release.spec.pipeline != spec.pipeline || release.spec.lane != spec.lane {
            return Some(format!(
                "Release {name} is of the lane {} of the pipeline {}; promote it there",
                release.spec.lane, release.spec.pipeline
            ));
        }
        let content = release.spec.rendered.contains_key(&spec.environment);
        (!content).then(|| format!("Release {name} has no content for {}", spec.environment))
    }

    /// Why a promotion that waits has become needless, if it has.
    fn needless(&self, here: &LaneState<'_>, promotion: &Promotion) -> Option<Needless> {
        let sequence = |p: &Promotion| {
            let release = self.engine.world.release(&self.key.namespace, &p.spec.release);
            release.map(|r| r.spec.sequence)
        };
        let place = here.promotions.iter().position(|p| p.name_any() == promotion.name_any())?;
        let later: Vec<Later> = here.promotions[place + 1..]
            .iter()
            .map(|p| Later {
                name: p.name_any(),
                kind: p.spec.kind,
                phase: phase(p),
                sequence: sequence(p),
            })
            .collect();
        let because = create::because(promotion);
        let answers = here.promotions.iter().find(|p| Some(p.name_any()) == because).map(|p| {
            let commit = p.status.as_ref().and_then(|s| s.commit.clone());
            Answered { name: p.name_any(), phase: phase(p), commit }
        });
        let others = here.promotions.iter().filter(|p| p.name_any() != promotion.name_any());
        needless(&Candidate {
            kind: promotion.spec.kind,
            sequence: sequence(promotion),
            brings: promotion.status.as_ref().and_then(|s| s.manifests),
            in_flight: others.into_iter().any(|p| phase(p).in_flight()),
            holds: here.holding.as_ref().map(|h| (h.trailers.manifests, &h.commit)),
            later: &later,
            answers,
        })
    }

    /// Says in the promotion what keeps it, without losing what it was.
    async fn note(&self, recent: &mut Recent, name: &str, error: &Error) {
        if matches!(error, Error::Conflict { .. }) {
            return;
        }
        let promotions = recent.promotions(self.engine, self.key);
        let Some(promotion) = promotions.iter().find(|p| p.name_any() == name) else { return };
        let mut status = promotion.status.clone().unwrap_or_default();
        if status.phase.is_final() {
            return;
        }
        status.message = error.to_string();
        if let Err(error) = recent.write(self.engine, promotion, status).await {
            tracing::debug!(promotion = name, %error, "its message could not be written");
        }
    }
}
