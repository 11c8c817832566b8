//! Step 10: the Git server is away. What runs keeps running, the conditions say what is missing,
//! and the promotion that people approved meanwhile goes on when it is back.

use super::cluster::{HOME, condition, name};
use super::image::new_version;
use super::stage::{LANES, PATIENCE, Stage, until};
use super::{Failed, must};

pub(super) fn outlived(stage: &Stage) -> Result<(), Failed> {
    let (_, promotion) = new_version(stage, "17.0.8")?;
    let head = stage.head("production", "app");
    let before = stage.live("production")?;
    stage.lab.stop_git()?;
    let told = away(stage, name(&promotion));
    let kept = told.and_then(|()| {
        must(stage.head("production", "app") == head, || "the branch moved".to_owned())?;
        must(stage.live("production")? == before, || "what runs in production changed".to_owned())
    });
    stage.lab.start_git()?;
    kept?;
    stage.call_hook("main")?;
    let release = promotion["spec"]["release"].as_str().unwrap_or_default();
    stage.promotion("production", "app", release, "Succeeded")?;
    until("the Repository is ready again", PATIENCE, || {
        let repository = stage.cluster.get(&format!("{HOME}/repositories/environments"))?;
        let (ready, message) = condition(&repository, "Ready");
        Ok(if ready == "True" { Ok(()) } else { Err(message.to_owned()) })
    })?;
    stage.runs_what_git_says("production", "app")
}

/// People approve, and everything that needs Git says that it is away.
fn away(stage: &Stage, promotion: &str) -> Result<(), Failed> {
    stage.call_hook("main")?;
    until("the Repository says that its server does not answer", PATIENCE, || {
        let repository = stage.cluster.get(&format!("{HOME}/repositories/environments"))?;
        let (ready, message) = condition(&repository, "Ready");
        Ok(if ready == "False" { Ok(()) } else { Err(format!("{ready}: {message}")) })
    })?;
    for approver in ["jane", "joe"] {
        stage.approve(approver, promotion)?;
    }
    until("the promotion says that Git does not answer", PATIENCE, || {
        let now = stage.cluster.get(&format!("{HOME}/promotions/{promotion}"))?;
        let (phase, message) =
            (now["status"]["phase"].clone(), now["status"]["message"].to_string());
        must(phase == "Waiting" || phase == "Admitted", || format!("it is {phase}: {message}"))?;
        let told = message.contains("push") || message.contains("fetch");
        Ok(if told { Ok(()) } else { Err(format!("{phase}: {message}")) })
    })?;
    for lane in LANES {
        let sync = stage.cluster.get(&format!("{HOME}/syncs/clinic-production-{lane}"))?;
        let (ready, message) = condition(&sync, "Ready");
        must(ready == "True", || format!("the Sync of {lane} is {ready}: {message}"))?;
    }
    Ok(())
}
