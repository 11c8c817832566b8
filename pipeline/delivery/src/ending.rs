//! What the end of a promotion brings about, before it is written down: a note in
//! Git for known good content, quarantine and a rollback for content that regressed.
//! Each is done once however often it is tried.

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_promotion::{Past, RollbackChoice, rollback_target, rolls_back};
use tidegate_schemas::{Kind, Phase, Promotion, Quarantine};
use tidegate_source::{Mirror, NewNote, Push};

use crate::engine::{Engine, author, whole_seconds};
use crate::journal::Recent;
use crate::lane::LaneState;
use crate::promote::Pass;
use crate::world::PipelineKey;
use crate::{Error, create};

/// Carries out what an end brings about. Gives the reason to record.
///
/// # Errors
/// When Git or the API server does not take it; the promotion has not ended then.
pub async fn effects(
    pass: &Pass<'_>,
    recent: &mut Recent,
    here: &LaneState<'_>,
    promotion: &Promotion,
    phase: Phase,
    reason: String,
    now: Timestamp,
) -> Result<String, Error> {
    let Pass { engine, key, mirror, .. } = pass;
    match phase {
        Phase::Succeeded => {
            note(engine, key, here, promotion, mirror, now).await?;
            Ok(reason)
        }
        Phase::Regressed => {
            quarantine(engine, key, here, promotion, &reason, now).await?;
            let answer = roll_back(engine, key, recent, here, promotion, &reason, now).await?;
            Ok(format!("{reason}. {answer}"))
        }
        _ => Ok(reason),
    }
}

/// Marks the commit as known good.
async fn note(
    engine: &Engine,
    key: &PipelineKey,
    here: &LaneState<'_>,
    promotion: &Promotion,
    mirror: &Mirror,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(commit) = promotion.status.as_ref().and_then(|s| s.commit.clone()) else {
        return Ok(());
    };
    if mirror.note(&commit).await.map_err(Error::git("reading notes"))?.is_some() {
        return Ok(());
    }
    let text = format!(
        "Known good in {} by {}: healthy during its whole watch until {}\n",
        here.environment.name,
        promotion.name_any(),
        whole_seconds(now)
    );
    let key = engine.keys.of(&key.namespace, here.environment.name.as_str()).await?;
    let set = mirror
        .set_note(NewNote { commit, text, author: author(), time: whole_seconds(now), key })
        .await
        .map_err(Error::git("noting the commit as known good"))?;
    match set {
        Push::Done => Ok(()),
        Push::Moved(_) => {
            Err(Error::Source("the notes moved again and again; it is tried again".to_owned()))
        }
        Push::Refused(why) => {
            Err(Error::Push { reference: tidegate_source::KNOWN_GOOD.to_owned(), why })
        }
    }
}

async fn quarantine(
    engine: &Engine,
    key: &PipelineKey,
    here: &LaneState<'_>,
    promotion: &Promotion,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(release) = engine.world.release(&key.namespace, &promotion.spec.release) else {
        return Ok(());
    };
    let Some(set) = release.spec.rendered.get(&here.environment.name) else { return Ok(()) };
    let mut status = release.status.clone().unwrap_or_default();
    if status.quarantined.iter().any(|q| q.promotion == promotion.name_any())
        || promotion.spec.kind == Kind::Rollback
    {
        return Ok(());
    }
    status.quarantined.push(Quarantine {
        environment: here.environment.name.clone(),
        manifests: set.manifests,
        promotion: promotion.name_any(),
        reason: reason.to_owned(),
        since: now,
    });
    engine.write_release(&release, status).await
}

async fn roll_back(
    engine: &Engine,
    key: &PipelineKey,
    recent: &mut Recent,
    here: &LaneState<'_>,
    promotion: &Promotion,
    reason: &str,
    now: Timestamp,
) -> Result<String, Error> {
    let name = promotion.name_any();
    if !rolls_back(&here.lane.watch) {
        return Ok("Nothing is rolled back: the class says Freeze, people decide".to_owned());
    }
    if let Some(answer) = create::answer(here, &name) {
        return Ok(format!("{answer} rolls it back"));
    }
    let manifests = promotion.status.as_ref().and_then(|s| s.manifests);
    let Some(manifests) = manifests else { return Ok("It brought nothing".to_owned()) };
    let regressed = Past {
        name: name.clone(),
        release: promotion.spec.release.clone(),
        manifests,
        kind: promotion.spec.kind,
        by_person: promotion.spec.requested_by.is_some(),
        phase: Phase::Regressed,
        known_good: false,
        ended: now,
        ran_until: now,
        refused: false,
    };
    let past = here.past(now, |release| engine.judged.refuses(engine, &key.namespace, release));
    match rollback_target(&regressed, &past, &here.environment.rollback, now) {
        RollbackChoice::Freeze(why) => Ok(format!("Nothing is rolled back: {why}")),
        RollbackChoice::To { release, proved_by } => {
            let why = format!("{name} regressed: {reason}");
            let why: String = why.chars().take(1000).collect();
            let spec = create::spec(
                key,
                &here.environment.name,
                &here.lane.name,
                release.clone(),
                Kind::Rollback,
                Some(why),
            )?;
            let rollback = create::create(engine, key, here, spec, Some(&name), recent).await?;
            Ok(format!("{rollback} brings back {release}, known good by {proved_by}"))
        }
    }
}
