//! Which images a target namespace needs, by everything that delivers there.
//!
//! Several environments, of several pipelines even, may share a namespace, and it has one list:
//! so all of them are looked at, whichever pipeline asks. What cannot be read now is told, so
//! that nothing is taken off a list because it was not seen.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_ids::EnvironmentName;
use tidegate_promotion::known_good;
use tidegate_provenance::ImageRef;
use tidegate_schemas::{EffectiveEnvironment, Pipeline, Release, Verdict};

use crate::engine::Engine;
use crate::lane::{LaneState, phase};
use crate::promote::Pass;
use crate::verified::{Need, image_ref, of_release};
use crate::world::PipelineKey;

/// An image that something needs in a namespace.
pub struct Used {
    /// Which one.
    pub image: ImageRef,
    /// What for.
    pub need: Need,
    /// What needs it.
    pub by: String,
    /// Whose it is.
    pub environment: (PipelineKey, EnvironmentName),
    /// The verdict that its release carries.
    pub recorded: Option<Verdict>,
}

/// Everything that a namespace needs.
#[derive(Default)]
pub struct InUse {
    /// What is needed.
    pub used: Vec<Used>,
    /// What releases of the pipelines that deliver here name, as `repository@digest`.
    pub released: BTreeSet<String>,
    /// Whether everything could be read.
    pub complete: bool,
}

/// Looks at everything that delivers to a namespace.
#[must_use]
pub fn of(engine: &Engine, namespace: &str, now: Timestamp) -> InUse {
    let mut found = InUse { complete: true, ..InUse::default() };
    for pipeline in engine.world.pipelines.state() {
        let key = PipelineKey {
            namespace: pipeline.namespace().unwrap_or_default(),
            name: pipeline.name_any(),
        };
        let effective = engine.world.effective(&pipeline).ok().map(|(effective, _)| effective);
        let known: Vec<&EffectiveEnvironment> =
            effective.iter().flat_map(|e| &e.environments).collect();
        let unknown =
            pipeline.spec.environments.iter().filter(|e| known.iter().all(|k| k.name != **e));
        found.complete &= unknown.into_iter().all(|e| target(engine, &pipeline, e) != namespace);
        let here: Vec<_> = known.into_iter().filter(|e| e.target == namespace).collect();
        let (Some(effective), false) = (&effective, here.is_empty()) else { continue };
        named(engine, &key, &mut found.released);
        for environment in &here {
            beside(&key, environment, &mut found);
        }
        let repository = &pipeline.spec.source.repository;
        let Ok(source) = engine.sources.resolve(&key.namespace, repository) else {
            found.complete = false;
            continue;
        };
        let pass =
            Pass { engine, key: &key, pipeline: &pipeline, effective, mirror: &source.mirror };
        let promotions: Vec<_> =
            engine.world.promotions_of(&key).iter().map(|p| p.as_ref().clone()).collect();
        let lanes = pass.lanes(&promotions);
        for environment in here {
            for lane in &environment.lanes {
                match lanes.get(&(environment.name.clone(), lane.name.clone())) {
                    Some(state) => in_lane(engine, &key, state, now, &mut found),
                    None => found.complete = false,
                }
            }
        }
    }
    found
}

/// Where an environment that lacks something would run.
fn target(engine: &Engine, pipeline: &Pipeline, environment: &EnvironmentName) -> String {
    let stated = engine.world.environments.find(|e| {
        e.metadata.namespace == pipeline.metadata.namespace
            && e.metadata.name.as_deref() == Some(environment.as_str())
            && Some(e.spec.pipeline.as_str()) == pipeline.metadata.name.as_deref()
    });
    stated.and_then(|e| e.spec.target.as_ref().map(|t| t.namespace.clone())).unwrap_or_else(|| {
        format!("{}-{environment}", pipeline.metadata.name.as_deref().unwrap_or_default())
    })
}

fn named(engine: &Engine, key: &PipelineKey, into: &mut BTreeSet<String>) {
    for release in engine.world.releases.state() {
        let own = release.metadata.namespace.as_deref() == Some(&key.namespace)
            && release.spec.pipeline.as_str() == key.name;
        let images = release.spec.images.iter().filter(|_| own);
        into.extend(images.map(|i| format!("{}@{}", i.repository, i.digest)));
    }
}

fn beside(key: &PipelineKey, environment: &EffectiveEnvironment, found: &mut InUse) {
    let images = environment.also_verified.iter().filter_map(|text| image_ref(text));
    found.used.extend(images.map(|image| Used {
        image,
        need: Need::Beside,
        by: "spec.alsoVerified".to_owned(),
        environment: (key.clone(), environment.name.clone()),
        recorded: None,
    }));
}

fn in_lane(
    engine: &Engine,
    key: &PipelineKey,
    here: &LaneState<'_>,
    now: Timestamp,
    found: &mut InUse,
) {
    let mut releases: Vec<(Need, String)> = Vec::new();
    releases.extend(here.holding.iter().map(|h| (Need::Held, h.trailers.release.clone())));
    // The cluster may still be at an earlier commit than the one that was accepted.
    let applied = here.sync.as_ref().and_then(|s| s.status.as_ref()?.applied.clone());
    let committed = |p: &tidegate_schemas::Promotion| p.status.as_ref()?.commit.clone();
    let runs = here
        .promotions
        .iter()
        .filter(|p| applied.as_ref().is_some_and(|a| committed(p).as_ref() == Some(&a.commit)));
    releases.extend(runs.map(|p| (Need::Held, p.spec.release.clone())));
    let coming = here.promotions.iter().filter(|p| phase(p).in_flight());
    releases.extend(coming.map(|p| (Need::Coming, p.spec.release.clone())));
    // A person may choose among all that are known good; by itself only what may run comes back.
    let rules = &here.environment.rollback;
    for past in [
        here.past(now, |_| false),
        here.past(now, |release| engine.judged.refuses(engine, &key.namespace, release)),
    ] {
        let targets = known_good(&past, rules, now);
        releases.extend(targets.into_iter().map(|p| (Need::Target, p.release.clone())));
    }
    for (need, name) in releases {
        let Some(release) = engine.world.release(&key.namespace, &name) else {
            // What has no release any more is never rolled back to.
            found.complete &= need == Need::Target;
            continue;
        };
        for image in of_release(&release, here.environment.name.as_str()) {
            found.used.push(Used {
                recorded: recorded(&release, &image),
                image,
                need,
                by: format!("Release {name} in lane {}", here.lane.name),
                environment: (key.clone(), here.environment.name.clone()),
            });
        }
    }
}

fn recorded(release: &Release, image: &ImageRef) -> Option<Verdict> {
    let same = |i: &&tidegate_schemas::ReleaseImage| {
        i.repository == image.repository && i.digest == image.digest
    };
    release.spec.images.iter().find(same).map(|i| i.verdict.clone())
}
