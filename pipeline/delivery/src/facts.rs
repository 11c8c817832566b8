//! Gathering what the gates are told about one promotion.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_gates::{
    ApprovalFact, Authors, Earned, Facts, ImageFact, LaneFact, People, Policy, Presence,
    PromotionFact,
};
use tidegate_ids::{Digest, EnvironmentName};
use tidegate_promotion::is_known_good;
use tidegate_provenance::ImageRef;
use tidegate_schemas::{After, Change, Excluded, Promotion, Release, Verdict};
use tidegate_source::Mirror;

use crate::engine::Engine;
use crate::lane::{LaneState, Lanes};
use crate::trust::{Asked, Rules};
use crate::world::PipelineKey;
use crate::{Error, source};

/// What gathering works with.
pub struct Sight<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The pipeline.
    pub key: &'a PipelineKey,
    /// Every lane of every environment.
    pub lanes: &'a Lanes<'a>,
    /// The order of environments.
    pub order: &'a [EnvironmentName],
    /// The deploy repository.
    pub mirror: &'a Mirror,
    /// The trust policies in force.
    pub rules: &'a Rules,
    /// Everybody.
    pub people: &'a People,
    /// Now.
    pub now: Timestamp,
}

/// What would change, and the rules that it is decided by.
pub struct Known {
    /// The facts.
    pub facts: Facts,
    /// The rules.
    pub policy: Policy,
    /// The change, for its digest's parts.
    pub change: Change,
}

/// Gathers everything.
///
/// # Errors
/// When the change has no digest.
pub async fn gather(
    sight: &Sight<'_>,
    here: &LaneState<'_>,
    promotion: &Promotion,
    release: &Release,
) -> Result<Known, Error> {
    let environment = &here.environment.name;
    let manifests = release.spec.rendered.get(environment).map(|r| r.manifests);
    let Some(manifests) = manifests else {
        return Err(Error::Content(format!(
            "release {} has no content for {environment}",
            release.name_any()
        )));
    };
    let change = change(sight, here, promotion, release, manifests)?;
    let (digest, _) = change.digest().map_err(|e| Error::Content(e.to_string()))?;
    let images = images(sight, release).await;
    // Images that may no longer run are the gate provenance's to tell.
    let past = here.past(sight.now, |_| false);
    let known_good = is_known_good(manifests, &past, &here.environment.rollback, sight.now);
    let facts = Facts {
        promotion: PromotionFact {
            name: promotion.name_any(),
            uid: promotion.uid().unwrap_or_default(),
            created: promotion.creation_timestamp().map_or(sight.now, |t| t.0),
            environment: environment.clone(),
            kind: promotion.spec.kind,
            requested_by: promotion.spec.requested_by.clone(),
            change: digest,
        },
        images,
        in_flight: here.comes_first(promotion),
        suspended: here.environment.suspended,
        quarantined: quarantined(sight, environment, manifests, release),
        requires: requires(sight, here, release),
        earned: earned(sight, here, release),
        approvals: approvals(sight, promotion),
        authors: authors(sight, here, release).await,
        known_good,
    };
    let policy = Policy {
        after: here.lane.after.clone(),
        after_by_default: here.lane.after_by_default,
        approvals: here.lane.approvals.clone(),
        vulnerabilities: here.lane.vulnerabilities.clone(),
    };
    Ok(Known { facts, policy, change })
}

fn change(
    sight: &Sight<'_>,
    here: &LaneState<'_>,
    promotion: &Promotion,
    release: &Release,
    manifests: Digest,
) -> Result<Change, Error> {
    let lane = here.lane;
    let policy = (
        &lane.after,
        &lane.approvals,
        &lane.vulnerabilities,
        &lane.watch,
        lane.deadline,
        lane.drift,
    );
    let policy =
        Digest::tagged("tidegate-policy/v1", &policy).map_err(|e| Error::Content(e.to_string()))?;
    let mut trust = BTreeSet::new();
    let mut images = BTreeSet::new();
    for image in &release.spec.images {
        let image = ImageRef { repository: image.repository.clone(), digest: image.digest };
        trust.extend(sight.rules.digest(&image));
        images.insert(image.to_string());
    }
    let trust =
        Digest::tagged("tidegate-trust/v1", &trust).map_err(|e| Error::Content(e.to_string()))?;
    Ok(Change {
        cluster: sight.engine.cluster_uid.clone(),
        namespace: sight.key.namespace.clone(),
        pipeline: promotion.spec.pipeline.clone(),
        environment: promotion.spec.environment.clone(),
        lane: promotion.spec.lane.clone(),
        promotion: promotion.uid().unwrap_or_default(),
        kind: promotion.spec.kind,
        manifests,
        replaces: here.holding.as_ref().map(|h| h.trailers.manifests),
        builds_on: here.holding.as_ref().map(|h| h.commit.clone()),
        images: images.into_iter().collect(),
        target: (here.environment.target.clone(), lane.paths.sync.clone()),
        policy,
        trust,
    })
}

/// Verdicts now. A verdict that the Release carries stands as long as the rules do.
async fn images(sight: &Sight<'_>, release: &Release) -> Vec<ImageFact> {
    let asked = release.spec.images.iter().map(|image| Asked {
        image: ImageRef { repository: image.repository.clone(), digest: image.digest },
        recorded: Some(image.verdict.clone()),
    });
    let asked: Vec<_> = asked.collect();
    let judged = sight.engine.verdicts(sight.key, sight.rules, &asked, sight.now).await;
    let fact = |(asked, judged): (&Asked, Result<Verdict, String>)| {
        let image = asked.image.to_string();
        match judged {
            Ok(verdict) => ImageFact { image, verdict, unknown: None },
            Err(why) => ImageFact { image, verdict: Verdict::default(), unknown: Some(why) },
        }
    };
    asked.iter().zip(judged).map(fact).collect()
}

/// Where this content, or this release on its way here, regressed.
fn quarantined(
    sight: &Sight<'_>,
    environment: &EnvironmentName,
    manifests: Digest,
    release: &Release,
) -> Vec<tidegate_schemas::Quarantine> {
    let place = sight.order.iter().position(|e| e == environment).unwrap_or(0);
    let earlier = &sight.order[..place];
    let mut found = Vec::new();
    for other in sight.engine.world.releases.state() {
        let same_lane = other.namespace().as_ref() == Some(&sight.key.namespace)
            && other.spec.pipeline == release.spec.pipeline
            && other.spec.lane == release.spec.lane;
        if !same_lane {
            continue;
        }
        let own = other.name_any() == release.name_any();
        for q in other.status.iter().flat_map(|s| &s.quarantined) {
            let content_here = q.environment == *environment && q.manifests == manifests;
            if content_here || (own && earlier.contains(&q.environment)) {
                found.push(q.clone());
            }
        }
    }
    found
}

fn requires(sight: &Sight<'_>, here: &LaneState<'_>, release: &Release) -> Vec<LaneFact> {
    let environment = &here.environment.name;
    let one = |(lane, name): (&tidegate_ids::LaneName, &String)| {
        let wanted = sight.engine.world.release(&sight.key.namespace, name);
        let content =
            wanted.as_ref().and_then(|r| r.spec.rendered.get(environment).map(|s| s.manifests));
        let held = sight.lanes.get(&(environment.clone(), lane.clone())).and_then(LaneState::held);
        let newer = held.as_ref().is_some_and(|held| {
            let held = sight.engine.world.release(&sight.key.namespace, &held.release);
            match (held, &wanted) {
                (Some(held), Some(wanted)) => held.spec.sequence >= wanted.spec.sequence,
                _ => false,
            }
        });
        let same = content.is_some() && held.as_ref().map(|h| h.manifests) == content;
        let nothing = wanted.is_some() && content.is_none();
        LaneFact {
            lane: lane.clone(),
            release: name.clone(),
            runs: held.map(|h| h.release),
            satisfied: newer || same || nothing,
        }
    };
    release.spec.requires.iter().map(one).collect()
}

fn earned(
    sight: &Sight<'_>,
    here: &LaneState<'_>,
    release: &Release,
) -> BTreeMap<EnvironmentName, Earned> {
    let one = |(environment, after): (&EnvironmentName, &After)| {
        let state = sight.lanes.get(&(environment.clone(), here.lane.name.clone()));
        let content = release.spec.rendered.get(environment).map(|set| set.manifests);
        let used = state.is_some_and(|s| s.holding.is_some() || !s.promotions.is_empty());
        let earned = match (state, content) {
            (Some(state), Some(content)) => state.earned(content, after.tolerance, sight.now),
            (None, Some(_)) => Earned { presence: Presence::Expected, ..Earned::default() },
            (_, None) if used => Earned { presence: Presence::LeftOut, ..Earned::default() },
            (_, None) => Earned::default(),
        };
        (environment.clone(), earned)
    };
    here.lane.after.iter().map(one).collect()
}

fn approvals(sight: &Sight<'_>, promotion: &Promotion) -> Vec<ApprovalFact> {
    let mut found: Vec<_> = sight
        .engine
        .world
        .approvals
        .state()
        .iter()
        .filter(|a| {
            a.namespace() == promotion.namespace() && a.spec.promotion == promotion.name_any()
        })
        .map(|a| ApprovalFact {
            name: a.name_any(),
            created: a.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |t| t.0),
            spec: a.spec.clone(),
        })
        .collect();
    found.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    found
}

/// Who wrote what lies between what runs here and this release; asked for only where a rule
/// leaves authors out.
async fn authors(sight: &Sight<'_>, here: &LaneState<'_>, release: &Release) -> Authors {
    if !here.lane.approvals.iter().any(|r| r.not.contains(&Excluded::Author)) {
        return Authors::Known(BTreeSet::new());
    }
    let from = match here.held() {
        None => None,
        Some(held) => match sight.engine.world.release(&sight.key.namespace, &held.release) {
            Some(running) => Some(running.spec.source.commit.clone()),
            None => {
                return Authors::Unknown(format!(
                    "release {}, which runs there, is gone",
                    held.release
                ));
            }
        },
    };
    let pipeline = sight.engine.world.pipeline(sight.key);
    let head = pipeline.and_then(|p| p.status.as_ref()?.commit.clone());
    let to = &release.spec.source.commit;
    source::authors(sight.mirror, sight.people, from.as_ref(), to, head.as_ref()).await
}
