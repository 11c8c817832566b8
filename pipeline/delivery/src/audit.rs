//! The look at what runs: one task for each pipeline, beside the two that discover and promote,
//! so that a registry that hangs holds up neither.
//!
//! It is woken by pods, by the list of verified images, by the namespace's labels and by
//! everything that wakes a pipeline, trust policies too. Each time it judges what is in use by
//! the rules in force, keeps the list, and tells what runs unverified in the Pipeline's status,
//! by an Event and in the log, each once. It deletes nothing: that is for people to decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource as _, ResourceExt as _};
use tidegate_ids::Digest;
use tidegate_outbound::Images;
use tidegate_provenance::ImageRef;
use tidegate_schemas::admission::{ENFORCE, VERIFIED_IMAGES_LABEL};
use tidegate_schemas::{
    ConditionStatus, EffectiveEnvironment, Pipeline, PipelineStatus, Unverified, UnverifiedReason,
    VerifiedImages, set_condition,
};
use tokio::sync::Notify;

use crate::engine::{Engine, wait};
use crate::in_use::{self, InUse, Used};
use crate::owners::Owners;
use crate::running::{self, Ground};
use crate::targets::{Target, Targets};
use crate::trust::{Asked, Rules};
use crate::verified::{self, Need, Needed};
use crate::world::PipelineKey;
use crate::{Error, clock};

/// The longest time between two looks, and how long one waits after an error.
const AT_MOST: Duration = Duration::from_mins(5);
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// The shortest time between two looks: pods come and go in crowds.
const AT_LEAST: Duration = Duration::from_secs(1);
/// How many images are judged side by side.
const AT_ONCE: usize = 8;
/// How many findings the status has.
const SHOWN: usize = 50;
/// How long it is believed that an index cannot be read.
const UNREADABLE: SignedDuration = SignedDuration::from_mins(1);

/// What a look keeps for the next one.
struct Memory {
    targets: Targets,
    owners: Owners,
    platforms: HashMap<String, (Result<BTreeSet<Digest>, String>, Timestamp)>,
}

/// What a look found in one environment.
struct Found {
    unverified: Vec<Unverified>,
    /// Why the API server does not enforce the list there, if it should.
    open: Option<String>,
}

/// Looks whenever something changes.
pub async fn auditor(engine: Arc<Engine>, key: PipelineKey, notify: Arc<Notify>) {
    let mut memory = Memory {
        targets: Targets::new(&engine.client, notify.clone()),
        owners: Owners::new(&engine.client),
        platforms: HashMap::new(),
    };
    loop {
        let pause = match look(&engine, &key, &mut memory).await {
            Ok(()) => AT_MOST,
            Err(Error::Conflict { .. }) => AT_LEAST,
            Err(error) => {
                tracing::warn!(pipeline = %key, %error, "looking at what runs met an error; it is tried again");
                AFTER_ERROR
            }
        };
        tokio::time::sleep(AT_LEAST).await;
        wait(&notify, pause).await;
    }
}

async fn look(engine: &Engine, key: &PipelineKey, memory: &mut Memory) -> Result<(), Error> {
    let Some(pipeline) = engine.world.pipeline(key) else { return Ok(()) };
    // What is missing is said in the pipeline's condition by discovery.
    let Ok((effective, _)) = engine.world.effective(&pipeline) else { return Ok(()) };
    let now = clock::now();
    let rules = engine.rules().await;
    memory.targets.only(effective.environments.iter().map(|e| e.target.as_str()));
    let (mut unverified, mut open) = (Vec::new(), Vec::new());
    for environment in &effective.environments {
        let found = one(engine, key, environment, &rules, memory, now).await;
        unverified.extend(found.unverified);
        open.extend(found.open);
    }
    // Discovery and promotion write the same status: what is said now goes on what stands there now.
    let Some(pipeline) = engine.world.pipeline(key) else { return Ok(()) };
    let enforced = effective
        .environments
        .iter()
        .filter(|e| e.verified_images == VerifiedImages::Enforce)
        .map(|e| e.target.as_str())
        .collect();
    let before = pipeline.status.clone().unwrap_or_default();
    let status = told(&pipeline, before.clone(), unverified, &open, &enforced, now);
    engine.write_pipeline(&pipeline, status.clone()).await?;
    announce(engine, &pipeline, &before, &status).await;
    Ok(())
}

async fn one(
    engine: &Engine,
    key: &PipelineKey,
    environment: &EffectiveEnvironment,
    rules: &Rules,
    memory: &mut Memory,
    now: Timestamp,
) -> Found {
    let Memory { targets, owners, platforms } = memory;
    let target = targets.of(&environment.target).await;
    let mut in_use = in_use::of(engine, &environment.target, now);
    in_use.complete &= target.pods.is_some();
    let pods: Vec<Arc<Pod>> =
        target.pods.iter().flatten().filter(|p| running::runs(p)).cloned().collect();
    let needed = judged(engine, key, environment, rules, &in_use, target, &pods, now).await;
    let kept = |image: &ImageRef| !in_use.complete && in_use.released.contains(&image.to_string());
    let written = verified::keep(engine, &environment.target, &needed, kept).await;
    let open = enforcement(environment, target, written.err());

    let mine = (key.clone(), environment.name.clone());
    let mut ground = ground(&needed);
    look_into_indexes(engine, key, &pods, &mut ground, platforms, now).await;
    let mut unverified = of_pods(environment, &pods, &ground, owners).await;
    for used in in_use.used.iter().filter(|u| u.environment == mine) {
        let told = ground.needed.get(&used.image.to_string()).and_then(running::told);
        let (Some((reason, message)), true) = (told, used.need != Need::Target) else { continue };
        let image = used.image.to_string();
        if unverified.iter().all(|u| u.image != image) {
            let object = used.by.clone();
            let environment = environment.name.clone();
            unverified.push(Unverified {
                environment,
                image,
                object,
                pods: 0,
                reason,
                message,
                since: now,
            });
        }
    }
    Found { unverified, open }
}

/// What is needed in the namespace, with what the rules in force say of it.
#[allow(clippy::too_many_arguments, reason = "everything that a verdict on what runs rests on")]
async fn judged(
    engine: &Engine,
    key: &PipelineKey,
    environment: &EffectiveEnvironment,
    rules: &Rules,
    in_use: &InUse,
    target: &Target,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Vec<Needed> {
    let listed: BTreeSet<String> = target
        .listed
        .iter()
        .flat_map(|(digest, names)| names.iter().map(move |name| format!("{name}@{digest}")))
        .collect();
    let images = pods.iter().flat_map(|p| running::observed(p)).filter_map(|o| o.image());
    let runs = images.filter(|image| listed.contains(&image.to_string())).map(|image| Used {
        need: Need::Runs { released: in_use.released.contains(&image.to_string()) },
        image,
        by: String::new(),
        environment: (key.clone(), environment.name.clone()),
        recorded: None,
    });
    let mut all: BTreeMap<(String, Need), (ImageRef, Option<tidegate_schemas::Verdict>)> =
        BTreeMap::new();
    for used in runs {
        all.entry((used.image.to_string(), used.need)).or_insert((used.image, used.recorded));
    }
    for used in &in_use.used {
        let entry = (used.image.clone(), used.recorded.clone());
        all.entry((used.image.to_string(), used.need)).or_insert(entry);
    }
    let judge = async |((_, need), (image, recorded)): ((String, Need), (ImageRef, Option<_>))| {
        let asked = Asked { image, recorded };
        let standing = engine.judged.standing((engine, key), rules, &asked, now).await;
        Needed { image: asked.image, need, standing }
    };
    futures::stream::iter(all).map(judge).buffer_unordered(AT_ONCE).collect().await
}

fn enforcement(
    environment: &EffectiveEnvironment,
    target: &Target,
    unwritten: Option<Error>,
) -> Option<String> {
    if environment.verified_images == VerifiedImages::Report {
        return None;
    }
    let namespace = &environment.target;
    if let Some(error) = unwritten {
        return Some(error.to_string());
    }
    let label = target.labels.as_ref()?.get(VERIFIED_IMAGES_LABEL).map(String::as_str);
    (label != Some(ENFORCE)).then(|| {
        format!(
            "the namespace {namespace} has no label {VERIFIED_IMAGES_LABEL}: {ENFORCE}, so the API server lets unverified images in: apply what tidegate bootstrap prints for the pipeline"
        )
    })
}

/// What a pod is measured by; what runs although nothing names it any more is not in it.
fn ground(needed: &[Needed]) -> Ground {
    let named = needed.iter().filter(|n| n.need != Need::Runs { released: false });
    Ground {
        needed: named.map(|n| (n.image.to_string(), n.standing.clone())).collect(),
        platforms: BTreeMap::new(),
    }
}

async fn look_into_indexes(
    engine: &Engine,
    key: &PipelineKey,
    pods: &[Arc<Pod>],
    ground: &mut Ground,
    known: &mut HashMap<String, (Result<BTreeSet<Digest>, String>, Timestamp)>,
    now: Timestamp,
) {
    for index in pods.iter().flat_map(|p| running::observed(p)).filter_map(|o| o.index()) {
        let name = index.to_string();
        // Nobody verified it, so nothing is asked of a registry that anybody may have named.
        if ground.platforms.contains_key(&name) || !ground.needed.contains_key(&name) {
            continue;
        }
        let fresh = known
            .get(&name)
            .is_some_and(|(found, at)| found.is_ok() || now.duration_since(*at) < UNREADABLE);
        if !fresh {
            known.insert(name.clone(), (platforms(engine, key, &index).await, now));
        }
        if let Some((found, _)) = known.get(&name) {
            ground.platforms.insert(name, found.clone());
        }
    }
}

async fn platforms(
    engine: &Engine,
    key: &PipelineKey,
    index: &ImageRef,
) -> Result<BTreeSet<Digest>, String> {
    let pipeline = engine.world.pipeline(key).ok_or("the Pipeline is gone")?;
    let registry = engine.registries.of(key, &pipeline).await?;
    let name = index.repository.parse().map_err(|e: tidegate_outbound::Error| e.to_string())?;
    let images = Images::from(registry.repository(name));
    let found = images.platforms(index.digest).await.map_err(|e| e.to_string())?;
    Ok(found.into_iter().map(|(digest, _)| digest).collect())
}

async fn of_pods(
    environment: &EffectiveEnvironment,
    pods: &[Arc<Pod>],
    ground: &Ground,
    owners: &mut Owners,
) -> Vec<Unverified> {
    let mut counted: BTreeMap<(running::Wrong, String), u32> = BTreeMap::new();
    for pod in pods {
        let wrongs: BTreeSet<running::Wrong> =
            running::observed(pod).iter().filter_map(|o| running::wrong(o, ground)).collect();
        if wrongs.is_empty() {
            continue;
        }
        let object = owners.of(pod).await;
        for wrong in wrongs {
            *counted.entry((wrong, object.clone())).or_default() += 1;
        }
    }
    counted
        .into_iter()
        .map(|((wrong, object), pods)| Unverified {
            environment: environment.name.clone(),
            image: wrong.image,
            object,
            pods,
            reason: wrong.reason,
            message: wrong.message,
            since: Timestamp::MAX,
        })
        .collect()
}

fn same(a: &Unverified, b: &Unverified) -> bool {
    (&a.environment, &a.image, &a.object, a.reason)
        == (&b.environment, &b.image, &b.object, b.reason)
}

/// The status with what was found.
fn told(
    pipeline: &Pipeline,
    mut status: PipelineStatus,
    mut found: Vec<Unverified>,
    open: &[String],
    enforced: &BTreeSet<&str>,
    now: Timestamp,
) -> PipelineStatus {
    for one in &mut found {
        one.since =
            status.unverified.iter().find(|old| same(old, one)).map_or(now, |old| old.since);
        one.message = one.message.chars().take(1000).collect();
        one.image = one.image.chars().take(500).collect();
    }
    found.sort_by(|a, b| {
        (a.reason, &a.environment, &a.image, &a.object).cmp(&(
            b.reason,
            &b.environment,
            &b.image,
            &b.object,
        ))
    });
    let total = found.len();
    let generation = pipeline.metadata.generation;
    let certain = found.first().is_some_and(|f| f.reason != UnverifiedReason::Unknown);
    let (holds, reason, message) = match found.first() {
        None => (
            ConditionStatus::True,
            "Verified".to_owned(),
            "everything that runs is verified by the rules in force".to_owned(),
        ),
        Some(first) => (
            if certain { ConditionStatus::False } else { ConditionStatus::Unknown },
            first.reason.to_string(),
            format!(
                "{total} in all; first: {} in {} ({}): {}",
                first.image, first.environment, first.object, first.message
            ),
        ),
    };
    set_condition(&mut status.conditions, "Verified", holds, &reason, message, generation, now);
    let message: String = if open.is_empty() {
        let places: Vec<&str> = enforced.iter().copied().collect();
        if places.is_empty() {
            "no class of its environments asks for it".to_owned()
        } else {
            format!("pods with other images are refused in {}", places.join(", "))
        }
    } else {
        open.join("; ").chars().take(4096).collect()
    };
    let reason = match (open.is_empty(), enforced.is_empty()) {
        (false, _) => "Open",
        (true, true) => "NotAsked",
        (true, false) => "Enforced",
    };
    set_condition(
        &mut status.conditions,
        "Enforced",
        open.is_empty(),
        reason,
        message,
        generation,
        now,
    );
    found.truncate(SHOWN);
    status.unverified = found;
    status
}

/// Tells what is new, once: the status remembers what was told, over restarts too.
async fn announce(
    engine: &Engine,
    pipeline: &Pipeline,
    before: &PipelineStatus,
    now: &PipelineStatus,
) {
    let new = now.unverified.iter().filter(|u| before.unverified.iter().all(|old| !same(old, u)));
    let reporter = Reporter { controller: "tidegate-delivery".to_owned(), instance: None };
    let recorder = Recorder::new(engine.client.clone(), reporter);
    let about = pipeline.object_ref(&());
    for one in new {
        let Unverified { environment, image, object, reason, message, .. } = one;
        tracing::warn!(pipeline = %pipeline.name_any(), %environment, image, object, %reason, message, "what runs is not verified");
        let note: String =
            format!("{image} in {environment} ({object}): {message}").chars().take(900).collect();
        let reason = if *reason == UnverifiedReason::Revoked { "Revoked" } else { "Unverified" };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Audit".to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &about).await {
            tracing::warn!(%error, "an Event could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidegate_schemas::condition;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn one(image: &str, reason: UnverifiedReason) -> Unverified {
        Unverified {
            environment: "production".parse().unwrap(),
            image: image.to_owned(),
            object: "Deployment web".to_owned(),
            pods: 2,
            reason,
            message: "because".to_owned(),
            since: Timestamp::MAX,
        }
    }

    fn after(before: PipelineStatus, found: Vec<Unverified>, open: &[&str]) -> PipelineStatus {
        let pipeline: Pipeline = serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Pipeline", "metadata": {"name": "clinic"},
            "spec": {"source": {"repository": "environments"}},
        }))
        .unwrap();
        let open: Vec<String> = open.iter().map(|o| (*o).to_owned()).collect();
        told(&pipeline, before, found, &open, &BTreeSet::from(["clinic-live"]), at(100))
    }

    fn says(status: &PipelineStatus, kind: &str) -> (String, String, String) {
        let found = condition(&status.conditions, kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    #[test]
    fn the_worst_of_what_runs_is_the_conditions_reason() {
        use UnverifiedReason::{Failed, NotListed, Revoked, Unknown};
        for (found, status, reason) in [
            (vec![], "True", "Verified"),
            (vec![one("a", Unknown)], "Unknown", "Unknown"),
            (vec![one("a", Unknown), one("b", NotListed)], "False", "NotListed"),
            (vec![one("a", Failed), one("b", Revoked)], "False", "Revoked"),
        ] {
            let total = found.len();
            let (now, why, message) =
                says(&after(PipelineStatus::default(), found, &[]), "Verified");
            assert_eq!((now.as_str(), why.as_str()), (status, reason));
            assert!(total == 0 || message.starts_with(&format!("{total} in all")), "{message}");
        }
    }

    #[test]
    fn what_is_known_keeps_its_time_and_what_is_mended_goes() {
        let mut known = one("a", UnverifiedReason::Revoked);
        known.since = at(7);
        let before = PipelineStatus { unverified: vec![known], ..PipelineStatus::default() };
        let found =
            vec![one("a", UnverifiedReason::Revoked), one("b", UnverifiedReason::NotListed)];
        let status = after(before, found, &[]);
        let times: Vec<_> = status.unverified.iter().map(|u| (u.image.as_str(), u.since)).collect();
        assert_eq!(times, [("a", at(7)), ("b", at(100))]);
        assert!(after(status, vec![], &[]).unverified.is_empty());
    }

    #[test]
    fn a_namespace_that_lets_everything_in_is_told_and_many_findings_are_counted() {
        let many: Vec<_> =
            (0..80).map(|n| one(&format!("i{n}"), UnverifiedReason::NotListed)).collect();
        let status = after(PipelineStatus::default(), many, &["clinic-live has no label"]);
        assert_eq!(status.unverified.len(), SHOWN);
        assert!(says(&status, "Verified").2.starts_with("80 in all"));
        let (now, reason, message) = says(&status, "Enforced");
        assert_eq!((now.as_str(), reason.as_str()), ("False", "Open"));
        assert!(message.contains("clinic-live has no label"));
    }
}
