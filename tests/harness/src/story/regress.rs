//! Step 7: a release that is well in dev and staging fails in production, and Tidegate goes back by
//! a commit forward: the same bytes as the known good, under a new head.

use serde_json::Value;

use super::cluster::{HOME, name};
use super::stage::{PATIENCE, Stage, branch, text, until};
use super::{Failed, must};

/// What makes the lab's pods fail a second after they run, for the end of a kustomization.
pub const FAILING: &str = "  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: odoo-cron}
      spec:
        template:
          metadata:
            labels: {pod-container-running-failed.stage.kwok.x-k8s.io: \"true\"}
";

pub(super) fn rolled_back(stage: &Stage) -> Result<(), Failed> {
    let branch = branch("production", "app");
    let good = stage.head("production", "app").unwrap_or_default();
    stage.reference.edit("production/app/kustomization.yaml", |text| format!("{text}{FAILING}"))?;
    let commit = stage.push("ann", "Run scheduled jobs with a new flag")?;
    let of_commit = |release: &Value| release["spec"]["source"]["commit"] == commit.as_str();
    let release = stage.release("app", "of the commit that fails", of_commit)?;
    let promotion = stage.waits_for_people("app", &release)?;
    for approver in ["jane", "joe"] {
        stage.approve(approver, name(&promotion))?;
    }
    let regressed = stage.promotion("production", "app", &release, "Regressed")?;
    let rollback = until("a rollback succeeded", PATIENCE, || {
        let newest = stage.promotions("production", "app")?.pop().unwrap_or_default();
        let done = newest["spec"]["kind"] == "Rollback" && newest["status"]["phase"] == "Succeeded";
        let now = format!("{} is {}", name(&newest), newest["status"]);
        Ok(if done { Ok(newest) } else { Err(now) })
    })?;

    let (bad, back) = (text(&regressed, "commit"), text(&rollback, "commit"));
    let head = stage.head("production", "app").unwrap_or_default();
    must(head == back, || format!("the head of {branch} is {head}, not the rollback {back}"))?;
    must(stage.git(&["rev-parse", &format!("{back}^")])? == bad, || {
        format!("the rollback {back} does not come after {bad}")
    })?;
    let tree = |commit: &str| stage.git(&["rev-parse", &format!("{commit}:manifests")]);
    must(tree(back)? == tree(&good)?, || {
        format!("the manifests of {back} are not those of {good}, byte for byte")
    })?;
    stage.runs_what_git_says("production", "app")?;

    let quarantined = stage.cluster.get(&format!("{HOME}/releases/{release}"))?;
    let places = quarantined["status"]["quarantined"].to_string();
    must(places.contains("production"), || format!("{release} is quarantined in {places}"))?;
    let told = stage.said_to("vic", &["explain", "promotion", name(&regressed)])?;
    for word in ["odoo-cron", "Regressed", name(&rollback)] {
        must(told.code == 0 && told.text.contains(word), || {
            format!("tidegate explain does not speak of {word}: {}", told.text)
        })?;
    }
    Ok(())
}
