//! The deploy commit of an admitted change: the kept set of its release, with the
//! trailers that the Sync demands, signed by the environment's key, on top of what
//! the Sync last accepted. Everything in it comes from the journal, so that making
//! it again makes the same commit.

use kube::ResourceExt as _;
use tidegate_gates::AdmittedChange;
use tidegate_ids::CommitId;
use tidegate_keys::Ring;
use tidegate_release::ReleaseId;
use tidegate_release::deploy::{DeployTarget, DeployTrailers, deploy_files, release_set};
use tidegate_schemas::{PlannedCommit, Promotion, Release};
use tidegate_source::{NewCommit, Push, Tree};

use crate::Error;
use crate::engine::{author, whole_seconds};
use crate::lane::LaneState;
use crate::promote::Pass;

/// What became of a commit.
pub enum Outcome {
    /// It is on the branch.
    Pushed(CommitId),
    /// The branch moved in between; fetch and decide again.
    Moved,
}

/// Makes the commit and pushes it.
///
/// # Errors
/// When the release's sets cannot be read, or Git does not take it.
pub async fn make(
    pass: &Pass<'_>,
    here: &LaneState<'_>,
    promotion: &Promotion,
    release: &Release,
    planned: &PlannedCommit,
    admitted: &AdmittedChange,
) -> Result<Outcome, Error> {
    let Pass { engine, key, mirror, .. } = pass;
    let environment = &here.environment.name;
    let content = |e: tidegate_release::Error| Error::Content(e.to_string());
    let name = release.name_any();
    let expected = release.spec.rendered.get(environment).map(|r| r.manifests);
    let expected = expected.ok_or_else(|| {
        Error::Content(format!("release {name} has no content for {environment}"))
    })?;
    let reference = ReleaseId::from(release.spec.id).reference();
    let heads = mirror.heads();
    let kept = heads.get(&reference).ok_or_else(|| {
        Error::Source(format!(
            "the sets of release {name} ({reference}) are not in the repository; they come back when the release is made again from its source commit"
        ))
    })?;
    let files = mirror
        .snapshot(kept)
        .and_then(|s| s.files(""))
        .map_err(Error::git(format!("reading the sets of release {name}")))?;
    let set = release_set(&files, environment, expected).map_err(content)?;
    let ring = engine.keys.ring(&key.namespace, environment.as_str()).await?;
    if !accepts(here, &ring) {
        return Err(Error::Source(format!(
            "Sync {} does not accept the new key {} yet; it is tried again",
            here.lane.paths.sync,
            ring.signing.public().fingerprint()
        )));
    }
    let trailers = DeployTrailers {
        target: DeployTarget {
            cluster: engine.cluster_uid.clone(),
            namespace: key.namespace.clone(),
            pipeline: promotion.spec.pipeline.clone(),
            environment: environment.clone(),
            lane: here.lane.name.clone(),
        },
        sequence: planned.sequence,
        promotion: promotion.name_any(),
        release: name.clone(),
        change: admitted.change(),
        manifests: expected,
        not_after: whole_seconds(planned.not_after),
    };
    let commit = mirror
        .commit(NewCommit {
            parent: planned.parent.clone(),
            tree: Tree::Files(
                deploy_files(&name, &release.spec, environment, &set).map_err(content)?,
            ),
            message: trailers.message(promotion.spec.kind),
            author: author(),
            time: whole_seconds(planned.at),
            key: ring.signing,
        })
        .await
        .map_err(Error::git(format!("writing the deploy commit of {}", promotion.name_any())))?;
    let branch = format!("refs/heads/{}", here.lane.paths.branch);
    let head = heads.get(&branch).cloned();
    let pushed = mirror
        .push(&branch, &commit, head.as_ref())
        .await
        .map_err(Error::git(format!("pushing {branch}")))?;
    match pushed {
        Push::Done => Ok(Outcome::Pushed(commit)),
        Push::Moved(Some(now)) if now == commit => Ok(Outcome::Pushed(commit)),
        Push::Moved(_) => Ok(Outcome::Moved),
        Push::Refused(why) => Err(Error::Push { reference: branch, why }),
    }
}

/// Whether the Sync has taken up the key that signs. While keys overlap it must have, or it would
/// refuse the commit; with one key only, it learns of both together.
fn accepts(here: &LaneState<'_>, ring: &Ring) -> bool {
    let Some(sync) = here.sync.as_ref().filter(|_| !ring.accepted.is_empty()) else { return true };
    let key = ring.signing.public().to_string();
    let stated = sync.spec.verify.as_ref().is_some_and(|verify| verify.keys.contains(&key));
    let seen = sync.status.as_ref().and_then(|status| status.observed_generation);
    stated && seen == sync.metadata.generation
}

/// The commit that this promotion made, if the Sync has accepted it or the branch has it. Only what
/// a key of the environment signed counts: anybody may write trailers.
///
/// # Errors
/// When the environment's key cannot be read.
pub async fn find(
    pass: &Pass<'_>,
    here: &LaneState<'_>,
    promotion: &Promotion,
) -> Result<Option<CommitId>, Error> {
    let Some(status) = &promotion.status else { return Ok(None) };
    let Some(planned) = &status.planned else { return Ok(None) };
    let name = promotion.name_any();
    let ours = |t: &DeployTrailers| t.promotion == name && Some(t.change) == status.change;
    if let Some(holding) = here.holding.as_ref().filter(|h| ours(&h.trailers)) {
        return Ok(Some(holding.commit.clone()));
    }
    let heads = pass.mirror.heads();
    let Ok(head) = heads.branch(&here.lane.paths.branch) else { return Ok(None) };
    let Ok(commits) = pass.mirror.commits(planned.parent.as_ref(), head, 50).await else {
        return Ok(None);
    };
    let ring = pass.engine.keys.ring(&pass.key.namespace, here.environment.name.as_str()).await?;
    let keys = ring.public();
    let found = commits.into_iter().find(|commit| {
        DeployTrailers::parse(&commit.message).is_ok_and(|t| ours(&t))
            && commit.verify(&keys).is_ok()
    });
    Ok(found.map(|commit| commit.id))
}
