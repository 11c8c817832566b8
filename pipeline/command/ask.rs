//! `tidegate promote` and `tidegate rollback`: a Promotion in one's own name.

use std::collections::BTreeMap;

use kube::api::{Api, ObjectMeta, PostParams};
use tidegate_ids::{EnvironmentName, LaneName, PipelineName};
use tidegate_schemas::admission::PIPELINE_LABEL;
use tidegate_schemas::{Kind, Promotion, PromotionSpec, Release, Sync};

use crate::board::running;
use crate::decide::whoami;
use crate::failure::{Failure, from_api};
use crate::objects::{Objects, journal, next_promotion, order};
use crate::session::{Connection, Session, list, show};
use crate::text::safe;

/// How often the next number is tried that somebody else may take meanwhile.
const TRIES: usize = 5;

/// Asks for a release to be brought into an environment; its gates decide.
#[derive(clap::Args, Debug)]
pub struct Promote {
    /// The release.
    pub release: String,
    /// The environment.
    #[arg(long)]
    pub env: EnvironmentName,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Goes back to content that was known good there, by a forward commit.
#[derive(clap::Args, Debug)]
pub struct Rollback {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environment.
    #[arg(long)]
    pub env: EnvironmentName,
    /// The lane.
    #[arg(long)]
    pub lane: LaneName,
    /// The release to go back to; the newest known good one that differs from what runs, where nothing is said.
    #[arg(long, value_name = "RELEASE")]
    pub to: Option<String>,
    /// Why.
    #[arg(long)]
    pub reason: String,
}

/// Creates the promotion.
///
/// # Errors
/// When there is no such release, or the API server refuses.
pub async fn promote(connection: &Connection, args: Promote) -> Result<(), Failure> {
    let session = connection.open().await?;
    let release: Release = session.one(&args.release).await?;
    if !release.spec.rendered.contains_key(&args.env) {
        let known: Vec<_> = release.spec.rendered.keys().map(ToString::to_string).collect();
        return Err(Failure::from(format!(
            "{} has no content for {}: it has some for {}",
            args.release,
            args.env,
            known.join(", ")
        )));
    }
    let spec = PromotionSpec {
        pipeline: release.spec.pipeline,
        environment: args.env,
        lane: release.spec.lane,
        release: args.release,
        kind: Kind::Promote,
        requested_by: None,
        reason: args.reason,
    };
    create(&session, spec).await
}

/// Creates the rollback.
///
/// # Errors
/// When nothing known good is there, or the API server refuses.
pub async fn rollback(connection: &Connection, args: Rollback) -> Result<(), Failure> {
    let session = connection.open().await?;
    let release = if let Some(name) = args.to {
        let release: Release = session.one(&name).await?;
        if release.spec.pipeline != args.pipeline || release.spec.lane != args.lane {
            return Err(Failure::from(format!(
                "{name} belongs to the lane {} of {}: name a release of the lane {} of {} with --to",
                release.spec.lane, release.spec.pipeline, args.lane, args.pipeline
            )));
        }
        name
    } else {
        let objects = Objects {
            promotions: list(&session.here()).await?,
            syncs: list::<Sync>(&session.here()).await?,
            ..Objects::default()
        };
        known_good(&objects, &args.pipeline, &args.env, &args.lane)?
    };
    let spec = PromotionSpec {
        pipeline: args.pipeline,
        environment: args.env,
        lane: args.lane,
        release,
        kind: Kind::Rollback,
        requested_by: None,
        reason: Some(args.reason),
    };
    create(&session, spec).await
}

/// The newest known good content that differs from what runs.
fn known_good(
    objects: &Objects,
    pipeline: &PipelineName,
    environment: &EnvironmentName,
    lane: &LaneName,
) -> Result<String, Failure> {
    let promotions = objects.promotions_of(pipeline.as_str(), environment, lane);
    let sync = objects.sync(&format!("{pipeline}-{environment}-{lane}"));
    let last = || {
        promotions.iter().rev().find(|p| journal(p).is_some_and(|j| j.commit.is_some())).copied()
    };
    let runs = running(sync, &promotions).or_else(last);
    let content = runs.and_then(|p| journal(p)?.manifests);
    let mut good: Vec<&Promotion> = promotions
        .iter()
        .filter(|p| journal(p).is_some_and(|j| j.known_good && j.manifests != content))
        .copied()
        .collect();
    good.sort_by_key(|p| (journal(p).and_then(|j| j.ended_at), order(p)));
    good.last().map(|p| p.spec.release.clone()).ok_or_else(|| {
        Failure::from(format!(
            "nothing else is known good in {environment}, lane {lane}: no other content completed its watch there; name a release with --to, which then needs the normal gates"
        ))
    })
}

async fn create(session: &Session, mut spec: PromotionSpec) -> Result<(), Failure> {
    spec.requested_by = whoami(&session.client).await?.username;
    let labels = BTreeMap::from([
        (PIPELINE_LABEL.to_owned(), spec.pipeline.to_string()),
        ("tidegate.dev/environment".to_owned(), spec.environment.to_string()),
        ("tidegate.dev/lane".to_owned(), spec.lane.to_string()),
    ]);
    let api: Api<Promotion> = session.here();
    let doing = format!("asking for {} in {}", spec.release, spec.environment);
    let mut tried = 0;
    loop {
        let promotions = list(&api).await?;
        let name = next_promotion(&spec.pipeline, &spec.environment, &spec.lane, &promotions);
        let promotion = Promotion {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels.clone()),
                ..ObjectMeta::default()
            },
            spec: spec.clone(),
            status: None,
        };
        tried += 1;
        match api.create(&PostParams::default(), &promotion).await {
            Ok(_) => {
                let (name, release) = (safe(&name), safe(&spec.release));
                return show(&format!(
                    "{name} created: it brings {release} to {} once its gates are open; see tidegate explain promotion {name}\n",
                    spec.environment
                ));
            }
            Err(kube::Error::Api(status)) if status.code == 409 && tried < TRIES => {}
            Err(error) => return Err(from_api(&doing, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn past(number: u32, content: char, good: bool) -> Value {
        json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Promotion",
            "metadata": {"name": format!("clinic-dev-app-{number}"), "namespace": "clinic"},
            "spec": {"pipeline": "clinic", "environment": "dev", "lane": "app", "release": format!("clinic-app-{content}")},
            "status": {"phase": if good { "Succeeded" } else { "Regressed" }, "knownGood": good,
                       "manifests": format!("sha256:{}", content.to_string().repeat(64)),
                       "commit": format!("{number}").repeat(40),
                       "endedAt": format!("2026-11-25T0{number}:00:00Z")},
        })
    }

    fn target(promotions: Vec<Value>) -> Result<String, Failure> {
        let mut objects = Objects::default();
        for promotion in promotions {
            objects.add(promotion).unwrap();
        }
        let (pipeline, dev, app) =
            ("clinic".parse().unwrap(), "dev".parse().unwrap(), "app".parse().unwrap());
        known_good(&objects, &pipeline, &dev, &app)
    }

    #[test]
    fn a_rollback_goes_to_the_newest_known_good_content_that_does_not_run() {
        let found = target(vec![
            past(1, 'a', true),
            past(2, 'b', true),
            past(3, 'c', false),
            past(4, 'b', true),
        ]);
        assert_eq!(found.unwrap(), "clinic-app-a");
        let found = target(vec![past(1, 'a', true), past(2, 'b', true), past(3, 'c', false)]);
        assert_eq!(found.unwrap(), "clinic-app-b");
        let message = target(vec![past(1, 'a', true), past(2, 'a', true)]).unwrap_err().message;
        assert!(message.contains("nothing else is known good in dev"), "{message}");
    }
}
