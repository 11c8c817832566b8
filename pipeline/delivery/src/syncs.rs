//! The Syncs of a pipeline: one for each environment's lane, made and kept by the
//! engine. All that a pipeline demands of a head stands in `spec.verify`.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use tidegate_ids::AccountName;
use tidegate_release::deploy::{DeployTarget, MANIFESTS, NOT_AFTER, SEQUENCE};
use tidegate_schemas::admission::PIPELINE_LABEL;
use tidegate_schemas::{
    Effective, EffectiveEnvironment, EffectiveLane, FIELD_MANAGER, HeadVerification, Pipeline,
    Prune, Render, Sync, SyncSource, SyncSpec, Target,
};

use crate::Error;
use crate::engine::Engine;
use crate::world::PipelineKey;

/// Makes every Sync say what it should. One that cannot be written holds up no other; gives one
/// sentence for each.
pub async fn keep(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    effective: &Effective,
) -> Vec<String> {
    let mut troubles = Vec::new();
    for environment in &effective.environments {
        for lane in &environment.lanes {
            if let Err(error) = keep_one(engine, key, pipeline, effective, environment, lane).await
            {
                troubles.push(error.to_string());
            }
        }
    }
    troubles
}

async fn keep_one(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    effective: &Effective,
    environment: &EffectiveEnvironment,
    lane: &EffectiveLane,
) -> Result<(), Error> {
    let ring = engine.keys.ring(&key.namespace, environment.name.as_str()).await?;
    let public = ring.public().iter().map(ToString::to_string).collect();
    let spec = wanted(engine, key, pipeline, effective, environment, lane, public)?;
    let current = engine.world.sync(&key.namespace, &lane.paths.sync);
    if current.is_none_or(|s| s.spec != spec) {
        apply(engine, key, environment, lane, spec).await?;
    }
    Ok(())
}

fn wanted(
    engine: &Engine,
    key: &PipelineKey,
    pipeline: &Pipeline,
    effective: &Effective,
    environment: &EffectiveEnvironment,
    lane: &EffectiveLane,
    keys: Vec<String>,
) -> Result<SyncSpec, Error> {
    let account: AccountName = lane
        .paths
        .sync
        .parse()
        .map_err(|e: tidegate_ids::ParseError| Error::Content(e.to_string()))?;
    let target = DeployTarget {
        cluster: engine.cluster_uid.clone(),
        namespace: key.namespace.clone(),
        pipeline: effective.name.clone(),
        environment: environment.name.clone(),
        lane: lane.name.clone(),
    };
    Ok(SyncSpec {
        source: SyncSource {
            repository: pipeline.spec.source.repository.clone(),
            branch: lane.paths.branch.clone(),
            path: MANIFESTS.to_owned(),
        },
        render: Render::Plain,
        target: Target { namespace: environment.target.clone() },
        account,
        prune: Prune::default(),
        drift: lane.drift,
        kinds: tidegate_policy::kinds(&lane.name).iter().map(ToString::to_string).collect(),
        verify: Some(HeadVerification {
            keys,
            trailers: target.trailers(),
            sequence: Some(SEQUENCE.to_owned()),
            not_after: Some(NOT_AFTER.to_owned()),
        }),
        deadline: lane.deadline,
        suspend: false,
    })
}

async fn apply(
    engine: &Engine,
    key: &PipelineKey,
    environment: &EffectiveEnvironment,
    lane: &EffectiveLane,
    spec: SyncSpec,
) -> Result<(), Error> {
    let api: Api<Sync> = Api::namespaced(engine.client.clone(), &key.namespace);
    let label = |name: &str, value: &str| (format!("tidegate.dev/{name}"), value.to_owned());
    let sync = Sync {
        metadata: ObjectMeta {
            name: Some(lane.paths.sync.clone()),
            labels: Some(BTreeMap::from([
                (PIPELINE_LABEL.to_owned(), key.name.clone()),
                label("environment", environment.name.as_str()),
                label("lane", lane.name.as_str()),
            ])),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    let name = sync.name_any();
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&sync))
        .await
        .map_err(Error::cluster(format!("Sync {name}")))?;
    Ok(())
}
