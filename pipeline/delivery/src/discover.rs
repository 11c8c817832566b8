//! Source and images to releases. One pass looks at the newest commit and the
//! newest images, and makes of each lane either a Release or a refused candidate
//! with its reasons. A lane that is refused holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_ids::{CommitId, EnvironmentName, LaneName};
use tidegate_provenance::ImageRef;
use tidegate_schemas::{
    Candidate, Effective, Pipeline, PipelineStatus, ReleaseImage, SourceCommit, Verdict,
    set_condition,
};
use tidegate_source::Mirror;

use crate::engine::Engine;
use crate::images::{Followed, canonical};
use crate::render::{self, Rendered};
use crate::summaries::Book;
use crate::trust::Asked;
use crate::verified::image_ref;
use crate::world::PipelineKey;
use crate::{Error, publish, source};

/// How many refused candidates are shown.
const REFUSED_KEPT: usize = 20;

/// What became of a lane.
enum LaneOutcome {
    /// Its release, by name.
    Release(String),
    /// It has no content in any environment.
    Empty,
    /// It is refused: by which image, and why.
    Refused(Option<ImageRef>, Vec<String>),
    /// It cannot be told now.
    Unknown(String),
}

/// Everything that one look at a pipeline works with.
struct Look<'a> {
    engine: &'a Engine,
    key: &'a PipelineKey,
    pipeline: &'a Pipeline,
    effective: &'a Effective,
    mirror: &'a Arc<Mirror>,
    source: &'a SourceCommit,
    followed: &'a Followed,
    now: Timestamp,
}

/// Everything that the outcome of a look depends on.
#[derive(PartialEq)]
pub struct Inputs {
    generation: Option<i64>,
    head: Option<CommitId>,
    followed: Followed,
    effective: Result<(Effective, Vec<String>), Vec<String>>,
    /// Names and versions of trust policies and rosters.
    rules: Vec<(String, Option<String>)>,
}

impl Inputs {
    /// As they are now.
    #[must_use]
    pub fn now(engine: &Engine, key: &PipelineKey, followed: &Followed) -> Option<Self> {
        let pipeline = engine.world.pipeline(key)?;
        let source = engine.sources.resolve(&key.namespace, &pipeline.spec.source.repository);
        let branch = &pipeline.spec.source.branch;
        let head = source.ok().and_then(|s| s.mirror.heads().branch(branch).ok().cloned());
        let world = &engine.world;
        let mut rules: Vec<_> =
            world.trust.state().iter().map(|t| (t.name_any(), t.resource_version())).collect();
        rules.extend(world.rosters.state().iter().map(|r| (r.name_any(), r.resource_version())));
        rules.sort();
        Some(Self {
            generation: pipeline.metadata.generation,
            head,
            followed: followed.clone(),
            effective: engine.world.effective(&pipeline),
            rules,
        })
    }
}

/// Looks once. `followed` is what the registries said last. Gives whether the outcome stands as long
/// as its inputs do: an image that nobody has signed yet, or a registry that does not answer, may
/// change it.
///
/// # Errors
/// When the result cannot be written; it is looked at again.
pub async fn pass(
    engine: &Engine,
    key: &PipelineKey,
    followed: &Followed,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(pipeline) = engine.world.pipeline(key) else { return Ok(true) };
    if pipeline.spec.suspend {
        return Ok(true);
    }
    let mut status = pipeline.status.clone().unwrap_or_default();
    let generation = pipeline.metadata.generation;
    status.observed_generation = generation;
    let set =
        |status: &mut PipelineStatus, kind: &str, holds: bool, reason: &str, message: String| {
            set_condition(&mut status.conditions, kind, holds, reason, message, generation, now);
        };
    let images_hold = followed.problems.is_empty();
    let message = if images_hold {
        "every followed image was found".to_owned()
    } else {
        followed.problems.join("; ")
    };
    set(
        &mut status,
        "Images",
        images_hold,
        if images_hold { "Found" } else { "NotFound" },
        message,
    );
    status.images.clone_from(&followed.chosen);
    let effective = match engine.world.effective(&pipeline) {
        Ok((effective, missing)) if missing.is_empty() => effective,
        // A release without one of its environments would be another release.
        Ok((_, errors)) | Err(errors) => {
            set(&mut status, "Ready", false, "Incomplete", errors.join("; "));
            return engine.write_pipeline(&pipeline, status).await.map(|()| true);
        }
    };
    let read = match source::read(engine, &pipeline, &status).await {
        Ok(read) => read,
        Err(why) => {
            set(&mut status, "Source", false, "NotReadable", why.clone());
            set(&mut status, "Ready", false, "Source", why);
            return engine.write_pipeline(&pipeline, status).await.map(|()| false);
        }
    };
    let at = format!("commit {} of {}", read.commit.commit.short(), pipeline.spec.source.branch);
    set(&mut status, "Source", true, "Read", at);
    let look = Look {
        engine,
        key,
        pipeline: &pipeline,
        effective: &effective,
        mirror: &read.mirror,
        source: &read.commit,
        followed,
        now,
    };
    let outcomes = lanes(&look).await?;
    record(&mut status, &outcomes, &look);
    status.commit = Some(read.commit.commit.clone());
    let settled = outcomes
        .values()
        .all(|o| !matches!(o, LaneOutcome::Unknown(_) | LaneOutcome::Refused(Some(_), _)));
    engine.write_pipeline(&pipeline, status).await.map(|()| settled)
}

async fn lanes(look: &Look<'_>) -> Result<BTreeMap<LaneName, LaneOutcome>, Error> {
    let spec = &look.pipeline.spec;
    let snapshot = look
        .mirror
        .snapshot(&look.source.commit)
        .map_err(Error::git(format!("reading commit {}", look.source.commit.short())))?;
    let mut rendered = BTreeMap::new();
    for lane in &spec.lanes {
        let images = look.followed.of_lane(&spec.images, &lane.name);
        let sets =
            render::lane(&look.engine.renderer, &snapshot, look.effective, &lane.name, &images)
                .await;
        rendered.insert(lane.name.clone(), sets);
    }
    let rules = look.engine.rules().await;
    let mut outcomes = BTreeMap::new();
    // In the order of requirement, so that a release names what it requires.
    for lane in publish::in_order(&spec.lanes) {
        let outcome = one_lane(look, &lane.name, &rendered, &rules, &outcomes).await?;
        outcomes.insert(lane.name.clone(), outcome);
    }
    Ok(outcomes)
}

async fn one_lane(
    look: &Look<'_>,
    lane: &LaneName,
    all: &BTreeMap<LaneName, Rendered>,
    rules: &crate::trust::Rules,
    before: &BTreeMap<LaneName, LaneOutcome>,
) -> Result<LaneOutcome, Error> {
    let Some(own) = all.get(lane) else { return Ok(LaneOutcome::Empty) };
    if !own.faults.is_empty() {
        let faults = own.faults.clone();
        return Ok(if own.passing {
            LaneOutcome::Unknown(faults.join("; "))
        } else {
            LaneOutcome::Refused(None, faults)
        });
    }
    if own.sets.is_empty() {
        return Ok(LaneOutcome::Empty);
    }
    let missing: Vec<_> = look
        .pipeline
        .spec
        .images
        .iter()
        .filter(|i| i.lane == *lane)
        .filter(|i| {
            let name = canonical(&i.repository);
            !look.followed.chosen.iter().any(|c| c.repository == name)
        })
        .map(|i| i.repository.clone())
        .collect();
    if !missing.is_empty() {
        return Ok(LaneOutcome::Unknown(format!(
            "no version of {} was found yet; see the condition Images",
            missing.join(", ")
        )));
    }
    let findings = render::findings(lane, all, look.effective);
    if !findings.is_empty() {
        let reasons = findings.into_iter().map(|f| f.message).collect();
        return Ok(LaneOutcome::Refused(None, reasons));
    }
    let images = match verified(look, own, rules).await {
        Ok(images) => images,
        Err(outcome) => return Ok(outcome),
    };
    let requires = match required(look, lane, before) {
        Ok(requires) => requires,
        Err(outcome) => return Ok(outcome),
    };
    let named = named(look.effective, own);
    let (sets, source) = (&own.sets, look.source);
    let draft = publish::Draft { lane, sets, source, images, named, requires };
    // One lane that cannot be kept now holds up no other.
    let made = publish::release(look.engine, look.key, look.pipeline, look.mirror, draft).await;
    Ok(made.map_or_else(|error| LaneOutcome::Unknown(error.to_string()), LaneOutcome::Release))
}

/// The releases that a lane requires, or what becomes of the lane where one of them is not there:
/// without it the requirement would be lost for good.
fn required(
    look: &Look<'_>,
    lane: &LaneName,
    before: &BTreeMap<LaneName, LaneOutcome>,
) -> Result<BTreeMap<LaneName, String>, LaneOutcome> {
    let mut found = BTreeMap::new();
    let status = look.pipeline.status.as_ref();
    let standing = |lane: &LaneName| status.and_then(|s| s.releases.get(lane).cloned());
    let lanes = look.pipeline.spec.lanes.iter().filter(|l| l.name == *lane);
    for name in lanes.flat_map(|l| &l.requires) {
        match before.get(name) {
            Some(LaneOutcome::Release(release)) => {
                found.insert(name.clone(), release.clone());
            }
            Some(LaneOutcome::Empty) => {}
            // An image that may not run keeps that lane at the release it has; whoever can push an
            // image must not be able to stop the lanes that only require it.
            Some(LaneOutcome::Refused(Some(_), _)) if standing(name).is_some() => {
                found.extend(standing(name).map(|release| (name.clone(), release)));
            }
            Some(LaneOutcome::Refused(..) | LaneOutcome::Unknown(_)) => {
                return Err(LaneOutcome::Unknown(format!(
                    "it requires lane {name}, which has no release of this commit: see the condition Lane-{name}"
                )));
            }
            None => {
                return Err(LaneOutcome::Refused(
                    None,
                    vec![format!(
                        "lanes {lane} and {name} require each other: take one of the two out of spec.lanes[].requires"
                    )],
                ));
            }
        }
    }
    Ok(found)
}

/// Every image of the lane with its verdict, or what became of the lane because of one.
async fn verified(
    look: &Look<'_>,
    own: &Rendered,
    rules: &crate::trust::Rules,
) -> Result<Vec<ReleaseImage>, LaneOutcome> {
    let named: BTreeSet<String> = named(look.effective, own).into_values().flatten().collect();
    let asked = named.iter().filter_map(|name| image_ref(name));
    let asked: Vec<_> = asked.map(|image| Asked { image, recorded: None }).collect();
    let judged = look.engine.verdicts(look.key, rules, &asked, look.now).await;
    let mut images = Vec::new();
    for (Asked { image, .. }, verdict) in asked.into_iter().zip(judged) {
        let verdict: Verdict = verdict.map_err(LaneOutcome::Unknown)?;
        if !verdict.passed {
            sum_up(look, &image, &verdict).await;
            return Err(LaneOutcome::Refused(Some(image), verdict.reasons));
        }
        let tag = look.followed.tag(&image.repository, image.digest);
        images.push(ReleaseImage {
            repository: image.repository,
            tag,
            digest: image.digest,
            verdict,
        });
    }
    images.sort_by(|a, b| (&a.repository, a.digest).cmp(&(&b.repository, b.digest)));
    Ok(images)
}

/// Keeps what was found about a refused image, for the environment that it would have come to
/// first: no later one has seen it.
async fn sum_up(look: &Look<'_>, image: &ImageRef, verdict: &Verdict) {
    let Some(environment) = look.effective.environments.first() else { return };
    let book = Book {
        engine: look.engine,
        key: look.key,
        mirror: look.mirror,
        before: &[],
        environment: &environment.name,
    };
    if let Err(error) = book.keep(&[(image.clone(), verdict.clone())], look.now).await {
        // The image stays refused; its summary is made with the next look at it.
        tracing::warn!(%image, %error, "the summary of a refusal could not be kept");
    }
}

/// What each environment's set of a lane names, as `repository@digest`.
fn named(effective: &Effective, own: &Rendered) -> BTreeMap<EnvironmentName, BTreeSet<String>> {
    let of = |(environment, set): (&EnvironmentName, &tidegate_manifest::Set)| {
        let fields = effective.environment(environment).map(render::fields).unwrap_or_default();
        let images = set.images(&fields);
        let images = images.iter().filter_map(|name| Some(image_ref(name)?.to_string()));
        (environment.clone(), images.collect())
    };
    own.sets.iter().map(of).collect()
}

fn record(
    status: &mut PipelineStatus,
    outcomes: &BTreeMap<LaneName, LaneOutcome>,
    look: &Look<'_>,
) {
    let generation = look.pipeline.metadata.generation;
    let mut trouble = Vec::new();
    for (lane, outcome) in outcomes {
        let (holds, reason, message) = match outcome {
            LaneOutcome::Release(name) => {
                status.releases.insert(lane.clone(), name.clone());
                (true, "Released", name.clone())
            }
            LaneOutcome::Empty => {
                (true, "Empty", "no environment has a folder for this lane".to_owned())
            }
            LaneOutcome::Unknown(why) => (false, "Unknown", why.clone()),
            LaneOutcome::Refused(image, reasons) => {
                refuse(status, lane, image.as_ref(), reasons, look);
                (false, "Refused", reasons.join("; "))
            }
        };
        if !holds {
            trouble.push(format!("{lane}: {message}"));
        }
        set_condition(
            &mut status.conditions,
            &format!("Lane-{lane}"),
            holds,
            reason,
            cut(message),
            generation,
            look.now,
        );
    }
    let (holds, reason, message) = if trouble.is_empty() {
        (true, "Released", "every lane has its release".to_owned())
    } else {
        (false, "Refused", trouble.join(". "))
    };
    set_condition(
        &mut status.conditions,
        "Ready",
        holds,
        reason,
        cut(message),
        generation,
        look.now,
    );
}

/// Conditions are capped at 32 KiB by the API server; people need less.
fn cut(mut message: String) -> String {
    if message.len() > 4096 {
        let end = (0..=4096).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

fn refuse(
    status: &mut PipelineStatus,
    lane: &LaneName,
    image: Option<&ImageRef>,
    reasons: &[String],
    look: &Look<'_>,
) {
    let commit: CommitId = look.source.commit.clone();
    let name = image.map(ToString::to_string);
    let known = status
        .refused
        .iter()
        .any(|c| c.lane == *lane && c.commit == commit && c.image == name && c.reasons == reasons);
    if known {
        return;
    }
    tracing::info!(pipeline = %look.pipeline.name_any(), %lane, reasons = ?reasons, "candidate refused");
    status.refused.push(Candidate {
        lane: lane.clone(),
        commit,
        tag: image.and_then(|i| look.followed.tag(&i.repository, i.digest)),
        image: name,
        reasons: reasons.iter().take(20).cloned().collect(),
        at: look.now,
    });
    let extra = status.refused.len().saturating_sub(REFUSED_KEPT);
    status.refused.drain(..extra);
}
