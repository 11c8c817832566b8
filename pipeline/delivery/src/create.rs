//! Creating the promotions that should be there: forward ones for the current
//! release of each lane, rollbacks for what regressed.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use tidegate_ids::{Digest, EnvironmentName, LaneName};
use tidegate_promotion::wanted;
use tidegate_schemas::admission::PIPELINE_LABEL;
use tidegate_schemas::{Kind, Promotion, PromotionSpec, Release};

use crate::engine::Engine;
use crate::journal::Recent;
use crate::lane::LaneState;
use crate::promote::Pass;
use crate::world::PipelineKey;
use crate::{Error, names};

/// The label that names the promotion a rollback answers.
pub const BECAUSE_LABEL: &str = "tidegate.dev/because";

/// Creates every forward promotion that is due. One that cannot be created holds up no other; gives
/// one sentence for each.
pub async fn wanted_promotions(pass: &Pass<'_>, recent: &mut Recent) -> Vec<String> {
    let mut troubles = Vec::new();
    let Some(status) = &pass.pipeline.status else { return troubles };
    for (lane, release) in &status.releases {
        let Some(release) = pass.engine.world.release(&pass.key.namespace, release) else {
            continue;
        };
        for environment in &pass.effective.environments {
            let made = one_wanted(pass, recent, &environment.name, lane, &release).await;
            troubles.extend(made.err().map(|error| error.to_string()));
        }
    }
    troubles
}

async fn one_wanted(
    pass: &Pass<'_>,
    recent: &mut Recent,
    environment: &EnvironmentName,
    lane: &LaneName,
    release: &Release,
) -> Result<(), Error> {
    let promotions = recent.promotions(pass.engine, pass.key);
    let lanes = pass.lanes(&promotions);
    let Some(here) = lanes.get(&(environment.clone(), lane.clone())) else { return Ok(()) };
    // One that was just created has no journal yet: it is on its way all the same.
    let created =
        here.promotions.iter().any(|p| p.status.is_none() && p.spec.release == release.name_any());
    if created || here.environment.suspended || here.awaits_a_person() {
        return Ok(());
    }
    let holds = |e: &EnvironmentName| -> Option<Digest> {
        lanes.get(&(e.clone(), lane.clone()))?.holding.as_ref().map(|h| h.trailers.manifests)
    };
    let order = &pass.pipeline.spec.environments;
    let earlier = order.iter().take_while(|e| *e != environment).cloned().collect::<Vec<_>>();
    let due = wanted(release, environment, here.lane, &here.content(), &holds, &earlier);
    if let Some(due) = due {
        let spec = spec(pass.key, environment, lane, due.release, Kind::Promote, None)?;
        create(pass.engine, pass.key, here, spec, None, recent).await?;
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
    recent: &mut Recent,
) -> Result<String, Error> {
    // Whatever has the name counts, also what somebody made for another lane.
    let taken = recent.names(engine, &key.namespace);
    let name = names::next_promotion(&here.lane.paths.sync, &taken);
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

/// The promotion that an automatic rollback answers.
#[must_use]
pub fn because(promotion: &Promotion) -> Option<String> {
    let automatic = promotion.spec.kind == Kind::Rollback && promotion.spec.requested_by.is_none();
    promotion.labels().get(BECAUSE_LABEL).filter(|_| automatic).cloned()
}

/// The rollback that answers this promotion, if it was created.
#[must_use]
pub fn answer(here: &LaneState<'_>, promotion: &str) -> Option<String> {
    here.promotions
        .iter()
        .find(|p| because(p).is_some_and(|b| b == promotion))
        .map(ResourceExt::name_any)
}
