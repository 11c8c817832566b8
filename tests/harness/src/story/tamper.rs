//! Step 9: whoever can push to a deploy branch can change nothing. An old commit, rightly signed in
//! its time, and an unsigned one are refused; what runs stays, and the next promotion builds on
//! what was accepted.

use super::cluster::{HOME, condition, name};
use super::image::new_version;
use super::regress::FAILING;
use super::stage::{PATIENCE, Stage, branch, text, until};
use super::{Failed, must};

pub(super) fn refused(stage: &Stage) -> Result<(), Failed> {
    let branch = branch("production", "app");
    let reference = format!("refs/heads/{branch}");
    let accepted = stage.head("production", "app").unwrap_or_default();
    let before = stage.live("production")?;

    let old = stage.git(&["rev-parse", &format!("{accepted}~2")])?;
    stage.git(&["update-ref", &reference, &old])?;
    refuses(stage, &branch, &old)?;
    unchanged(stage, &before, &accepted, "the old commit")?;

    stage.git(&["update-ref", &reference, &accepted])?;
    let (path, manifest) = stage
        .manifests(&branch)?
        .into_iter()
        .find(|(_, text)| text.contains("odoo-web") && text.contains("kind: Deployment"))
        .ok_or("the branch has no Deployment odoo-web")?;
    let evil = manifest.replace("--workers=4", "--workers=40");
    let unsigned = stage.lab.commit(
        "environments",
        &branch,
        &[(&path, Some(&evil))],
        "Promote quickly, without asking anybody",
    )?;
    refuses(stage, &branch, &unsigned)?;
    unchanged(stage, &before, &accepted, "the unsigned commit")?;
    goes_on(stage, &accepted)
}

fn refuses(stage: &Stage, branch: &str, commit: &str) -> Result<(), Failed> {
    stage.call_hook(branch)?;
    until(&format!("the Sync refuses {commit}"), PATIENCE, || {
        let sync = stage.cluster.get(&format!("{HOME}/syncs/clinic-production-app"))?;
        let refused = &sync["status"]["refused"];
        let (verified, message) = condition(&sync, "Verified");
        let told = refused["commit"] == commit && verified == "False" && !message.is_empty();
        Ok(if told {
            Ok(())
        } else {
            Err(format!("refused is {refused}, Verified is {verified}: {message}"))
        })
    })
}

fn unchanged(
    stage: &Stage,
    before: &std::collections::BTreeMap<String, serde_json::Value>,
    accepted: &str,
    what: &str,
) -> Result<(), Failed> {
    let sync = stage.cluster.get(&format!("{HOME}/syncs/clinic-production-app"))?;
    let applied = &sync["status"]["applied"]["commit"];
    must(*applied == accepted, || format!("{what} was applied: {applied}"))?;
    for (path, was) in before {
        let is = stage.cluster.get(path)?;
        let same = is["spec"] == was["spec"] && is["data"] == was["data"];
        must(same, || format!("{what} changed {path}"))?;
    }
    Ok(())
}

/// The cause of the regression is taken back, and a new image goes all the way.
fn goes_on(stage: &Stage, accepted: &str) -> Result<(), Failed> {
    stage.reference.edit("production/app/kustomization.yaml", |text| text.replace(FAILING, ""))?;
    stage.push("ann", "Take the new flag back")?;
    let (_, promotion) = new_version(stage, "17.0.7")?;
    for approver in ["jane", "joe"] {
        stage.approve(approver, name(&promotion))?;
    }
    let release = promotion["spec"]["release"].as_str().unwrap_or_default();
    let done = stage.promotion("production", "app", release, "Succeeded")?;
    let commit = text(&done, "commit");
    let parent = stage.git(&["rev-parse", &format!("{commit}^")])?;
    must(parent == accepted, || {
        format!("the next promotion built on {parent}, not on the accepted {accepted}")
    })?;
    must(stage.head("production", "app").as_deref() == Some(commit), || {
        format!("{commit} is not the head of its branch")
    })?;
    stage.runs_what_git_says("production", "app")
}
