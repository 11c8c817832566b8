//! Step 1: from an empty cluster to three lanes in dev and staging; and people bring the same
//! releases to production, so that later steps have something to replace and to go back to.

use super::Failed;
use super::stage::{LANES, Stage};

/// Who approves the first releases at production. Ann wrote them.
const APPROVERS: [(&str, &[&str]); 3] =
    [("security", &["sam"]), ("infra", &["pia", "joe"]), ("app", &["jane", "joe"])];

pub(super) fn everything(stage: &Stage) -> Result<(), Failed> {
    stage.call_hook("main")?;
    for lane in LANES {
        let release = stage.release(lane, "of the first commit", |_| true)?;
        stage.passes_dev_and_staging(lane, &release)?;
    }
    for environment in ["dev", "staging"] {
        for lane in LANES {
            stage.runs_what_git_says(environment, lane)?;
        }
        stage.runs_nothing_else(environment)?;
    }
    first_in_production(stage)
}

/// The first releases, approved by people for production; each lane follows those it requires.
fn first_in_production(stage: &Stage) -> Result<(), Failed> {
    let mut releases = Vec::new();
    for (lane, approvers) in APPROVERS {
        let release = stage.release(lane, "of the first commit", |_| true)?;
        let promotion = stage.promotion("production", lane, &release, "Waiting")?;
        for approver in approvers {
            stage.approve(approver, super::name(&promotion))?;
        }
        releases.push((lane, release));
    }
    for (lane, release) in releases {
        stage.promotion("production", lane, &release, "Succeeded")?;
        stage.runs_what_git_says("production", lane)?;
    }
    stage.runs_nothing_else("production")
}
