//! Making a Release: its rendered sets are kept in the deploy repository first,
//! the object is created after, so that a Release never speaks of sets that are
//! not there. Both have the release's identity as their name: doing it again does
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use tidegate_ids::{EnvironmentName, LaneName};
use tidegate_manifest::Set;
use tidegate_release::deploy::release_files;
use tidegate_release::{ReleaseContent, ReleaseId};
use tidegate_schemas::admission::PIPELINE_LABEL;
use tidegate_schemas::{
    LaneSpec, Pipeline, Release, ReleaseImage, ReleaseSpec, RenderedSet, SourceCommit,
};
use tidegate_source::{Mirror, NewCommit, Push, Tree};

use crate::Error;
use crate::engine::{Engine, author};
use crate::world::PipelineKey;

/// What a release is made of.
pub struct Draft<'a> {
    /// Its lane.
    pub lane: &'a LaneName,
    /// Its sets.
    pub sets: &'a BTreeMap<EnvironmentName, Set>,
    /// The commit it was rendered from.
    pub source: &'a SourceCommit,
    /// Its images, each verified.
    pub images: Vec<ReleaseImage>,
    /// Which of them each environment names, as `repository@digest`.
    pub named: BTreeMap<EnvironmentName, BTreeSet<String>>,
    /// The releases of required lanes.
    pub requires: BTreeMap<LaneName, String>,
}

/// Makes the Release, unless it is there already. Gives its name.
///
/// # Errors
/// When Git or the API server does not take it; it is tried again.
pub async fn release(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    mirror: &Arc<Mirror>,
    draft: Draft<'_>,
) -> Result<String, Error> {
    let content = |e: tidegate_release::Error| Error::Content(e.to_string());
    let name = pipeline
        .name_any()
        .parse()
        .map_err(|e: tidegate_ids::ParseError| Error::Content(e.to_string()))?;
    let named = draft.named.values().flatten();
    let id = ReleaseId::of(&ReleaseContent::new(name, draft.lane.clone(), draft.sets, named))
        .map_err(content)?;
    let pipeline_name = pipeline
        .name_any()
        .parse()
        .map_err(|e: tidegate_ids::ParseError| Error::Content(e.to_string()))?;
    let name = id.name(&pipeline_name, draft.lane);
    if engine.world.release(&key.namespace, &name).is_some() {
        return Ok(name);
    }
    keep_sets(engine, key, pipeline, mirror, id, &draft).await?;
    let rendered = draft
        .sets
        .iter()
        .map(|(environment, set)| {
            let objects = u32::try_from(set.len()).unwrap_or(u32::MAX);
            let images = draft.named.get(environment).into_iter().flatten().cloned().collect();
            (environment.clone(), RenderedSet { manifests: set.digest(), objects, images })
        })
        .collect();
    let sequence = 1 + engine
        .world
        .releases
        .state()
        .iter()
        .filter(|r| r.namespace().as_ref() == Some(&key.namespace))
        .filter(|r| r.spec.pipeline == pipeline_name && r.spec.lane == *draft.lane)
        .map(|r| r.spec.sequence)
        .max()
        .unwrap_or(0);
    let spec = ReleaseSpec {
        pipeline: pipeline_name,
        lane: draft.lane.clone(),
        id: id.digest(),
        source: draft.source.clone(),
        images: draft.images,
        rendered,
        requires: draft.requires,
        sequence,
    };
    create(engine, key, pipeline, &name, spec).await?;
    Ok(name)
}

async fn keep_sets(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    mirror: &Arc<Mirror>,
    id: ReleaseId,
    draft: &Draft<'_>,
) -> Result<(), Error> {
    let reference = id.reference();
    if mirror.heads().get(&reference).is_some() {
        return Ok(());
    }
    let environment = pipeline.spec.environments.first().map_or("", |e| e.as_str());
    let signing = engine.keys.of(&key.namespace, environment).await?;
    let commit = mirror
        .commit(NewCommit {
            parent: None,
            tree: Tree::Files(release_files(draft.sets)),
            message: format!("Keep release {}\n", id.digest()),
            author: author(),
            time: draft.source.time,
            key: signing,
        })
        .await
        .map_err(Error::git(format!("writing the sets of release {}", id.digest())))?;
    let pushed = mirror
        .push(&reference, &commit, None)
        .await
        .map_err(Error::git(format!("pushing {reference}")))?;
    match pushed {
        // Somebody else of us kept it: its content is named by its identity.
        Push::Done | Push::Moved(_) => Ok(()),
        Push::Refused(why) => Err(Error::Push { reference, why }),
    }
}

async fn create(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    name: &str,
    spec: ReleaseSpec,
) -> Result<(), Error> {
    let api: Api<Release> = Api::namespaced(engine.client.clone(), &key.namespace);
    let release = Release {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([
                (PIPELINE_LABEL.to_owned(), pipeline.name_any()),
                ("tidegate.dev/lane".to_owned(), spec.lane.to_string()),
            ])),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    match api.create(&PostParams::default(), &release).await {
        Ok(_) => {
            tracing::info!(release = name, "release made");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(Error::cluster(format!("Release {name}"))(error)),
    }
}

/// The lanes, each after those it requires; a circle is broken at its first lane.
#[must_use]
pub fn in_order(lanes: &[LaneSpec]) -> Vec<&LaneSpec> {
    let mut ordered: Vec<&LaneSpec> = Vec::new();
    while ordered.len() < lanes.len() {
        let mut left = lanes.iter().filter(|l| ordered.iter().all(|o| o.name != l.name));
        let placed = |name: &LaneName| ordered.iter().any(|o| o.name == *name);
        let next = left.clone().find(|l| l.requires.iter().all(placed)).or_else(|| left.next());
        match next {
            Some(lane) => ordered.push(lane),
            None => break,
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lanes: &[(&str, &[&str])]) -> Vec<String> {
        let lanes: Vec<LaneSpec> = lanes
            .iter()
            .map(|(name, requires)| LaneSpec {
                name: name.parse().unwrap(),
                requires: requires.iter().map(|r| r.parse().unwrap()).collect(),
            })
            .collect();
        in_order(&lanes).into_iter().map(|l| l.name.to_string()).collect()
    }

    #[test]
    fn a_lane_comes_after_those_it_requires() {
        assert_eq!(
            order(&[("app", &["infra", "security"]), ("infra", &["security"]), ("security", &[])]),
            ["security", "infra", "app"]
        );
    }

    #[test]
    fn lanes_that_require_each_other_are_all_there() {
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"])]), ["a", "b"]);
    }
}
