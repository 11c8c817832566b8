//! Step 5: lanes are separate roads. While an app release waits half approved, a security change
//! reaches production; the approval that the app release already has stays good.

use serde_json::Value;

use super::Failed;
use super::cluster::{HOME, name};
use super::image::new_version;
use super::must;
use super::stage::Stage;

pub(super) fn overtake(stage: &Stage) -> Result<(), Failed> {
    let (_, app) = new_version(stage, "17.0.6")?;
    stage.approve("jane", name(&app))?;

    stage.reference.edit("bases/security/network.yaml", |text| {
        text.replace("        - {protocol: TCP, port: 8000}\n", "")
    })?;
    let commit = stage.push("ann", "Close the edge's plain port")?;
    let of_commit = |release: &Value| release["spec"]["source"]["commit"] == commit.as_str();
    let release = stage.release("security", "of the change", of_commit)?;
    stage.passes_dev_and_staging("security", &release)?;
    let security = stage.waits_for_people("security", &release)?;
    stage.approve("sam", name(&security))?;
    stage.promotion("production", "security", &release, "Succeeded")?;
    stage.runs_what_git_says("production", "security")?;

    let path = format!("{HOME}/promotions/{}", name(&app));
    let waiting = stage.cluster.get(&path)?;
    must(waiting["status"]["phase"] == "Waiting", || {
        format!("the app lane did not wait: {}", waiting["status"])
    })?;
    let change = &waiting["status"]["change"];
    must(*change == app["status"]["change"], || {
        format!("what the app lane would change moved: {}", waiting["status"]["journal"])
    })?;
    let approvals = waiting["status"]["approvals"].as_array().cloned().unwrap_or_default();
    let good = approvals.iter().any(|a| a["user"] == "jane" && a["counts"] == true);
    must(good, || format!("jane's approval no longer counts: {approvals:?}"))?;

    stage.approve("joe", name(&app))?;
    let release = app["spec"]["release"].as_str().unwrap_or_default();
    stage.promotion("production", "app", release, "Succeeded")?;
    stage.runs_what_git_says("production", "app")
}
