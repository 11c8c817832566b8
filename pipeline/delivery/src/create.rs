//! Creating the promotions that should be there: forward ones for the current
//! release of each lane, rollbacks for what regressed.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use tidegate_ids::{Digest, EnvironmentName, LaneName};
use tidegate_promotion::wanted;
use tidegate_schemas::{Kind, Promotion, PromotionSpec};

use crate::engine::Engine;
use crate::journal::Recent;
use crate::lane::LaneState;
use crate::promote::Pass;
use crate::world::{PIPELINE_LABEL, PipelineKey};
use crate::{Error, names};

/// The label that names the promotion a rollback answers.
pub const BECAUSE_LABEL: &str = "tidegate.dev/because";

/// Creates every forward promotion that is due.
///
/// # Errors
/// When the API server does not take one.
pub async fn wanted_promotions(pass: &Pass<'_>, recent: &mut Recent) -> Result<(), Error> {
    let Pass { engine, key, pipeline, effective, .. } = pass;
    let Some(status) = &pipeline.status else { return Ok(()) };
    for (lane, name) in &status.releases {
        let Some(release) = engine.world.release(&key.namespace, name) else { continue };
        for (place, environment) in effective.environments.iter().enumerate() {
            let promotions = recent.promotions(engine, key);
            let lanes = pass.lanes(&promotions);
            let Some(here) = lanes.get(&(environment.name.clone(), lane.clone())) else { continue };
            let holds = |e: &EnvironmentName| -> Option<Digest> {
                lanes
                    .get(&(e.clone(), lane.clone()))?
                    .holding
                    .as_ref()
                    .map(|h| h.trailers.manifests)
            };
            let earlier: Vec<_> =
                effective.environments[..place].iter().map(|e| e.name.clone()).collect();
            // One that was just created has no journal yet: it is on its way all the same.
            let created =
                here.promotions.iter().any(|p| p.status.is_none() && p.spec.release == *name);
            if created || environment.suspended {
                continue;
            }
            let wanted =
                wanted(&release, &environment.name, here.lane, &here.content(), &holds, &earlier);
            if let Some(wanted) = wanted {
                let spec = spec(key, &environment.name, lane, wanted.release, Kind::Promote, None)?;
                create(engine, key, here, spec, None, &promotions, recent).await?;
            }
        }
    }
    Ok(())
}

/// The spec of a promotion that the engine makes.
///
/// # Errors
/// When the pipeline's name is none.
pub fn spec(
    key: &PipelineKey,
    environment: &EnvironmentName,
    lane: &LaneName,
    release: String,
    kind: Kind,
    reason: Option<String>,
) -> Result<PromotionSpec, Error> {
    let pipeline =
        key.name.parse().map_err(|e: tidegate_ids::ParseError| Error::Content(e.to_string()))?;
    Ok(PromotionSpec {
        pipeline,
        environment: environment.clone(),
        lane: lane.clone(),
        release,
        kind,
        requested_by: None,
        reason,
    })
}

/// Creates a promotion under the next free number.
///
/// # Errors
/// When the API server does not take it; a number that somebody else took meanwhile is a conflict.
pub async fn create(
    engine: &Engine,
    key: &PipelineKey,
    here: &LaneState<'_>,
    spec: PromotionSpec,
    because: Option<&str>,
    promotions: &[Promotion],
    recent: &mut Recent,
) -> Result<String, Error> {
    let name = names::next_promotion(&here.lane.paths.sync, promotions);
    let mut labels = BTreeMap::from([
        (PIPELINE_LABEL.to_owned(), key.name.clone()),
        ("tidegate.dev/environment".to_owned(), spec.environment.to_string()),
        ("tidegate.dev/lane".to_owned(), spec.lane.to_string()),
    ]);
    labels.extend(because.map(|b| (BECAUSE_LABEL.to_owned(), b.to_owned())));
    let promotion = Promotion {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    let api: Api<Promotion> = Api::namespaced(engine.client.clone(), &key.namespace);
    let made = api
        .create(&PostParams::default(), &promotion)
        .await
        .map_err(Error::cluster(format!("Promotion {name}")))?;
    tracing::info!(promotion = name, release = made.spec.release, kind = ?made.spec.kind, "promotion created");
    recent.keep(made);
    Ok(name)
}

/// The rollback that answers this promotion, if it was created.
#[must_use]
pub fn answer(here: &LaneState<'_>, promotion: &str) -> Option<String> {
    here.promotions
        .iter()
        .find(|p| p.labels().get(BECAUSE_LABEL).is_some_and(|b| b == promotion))
        .map(ResourceExt::name_any)
}
