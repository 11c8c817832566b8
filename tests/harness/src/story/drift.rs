//! Step 6: drift. A Deployment edited by hand and a deleted Service come back; the record of the
//! edit names who claims to have made it, the record of the deletion says that nobody knows.

use serde_json::{Value, json};

use super::cluster::HOME;
use super::stage::{PATIENCE, Stage, until};
use super::{Failed, must};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/clinic-production/deployments/odoo-events";
const SERVICE: &str = "/api/v1/namespaces/clinic-production/services/odoo-web";

pub(super) fn corrected(stage: &Stage) -> Result<(), Failed> {
    let before = stage.cluster.get(DEPLOYMENT)?;
    let replicas = before["spec"]["replicas"].clone();
    stage.cluster.merge(DEPLOYMENT, "kubectl-edit", &json!({"spec": {"replicas": 7}}))?;
    until("the edited Deployment is as Git says again", PATIENCE, || {
        let now = stage.cluster.get(DEPLOYMENT)?["spec"]["replicas"].clone();
        Ok(if now == replicas { Ok(()) } else { Err(format!("it has {now} replicas")) })
    })?;
    let uid = stage.cluster.get(SERVICE)?["metadata"]["uid"].clone();
    stage.cluster.delete(SERVICE)?;
    until("the deleted Service is there again", PATIENCE, || {
        let now = stage.cluster.find(SERVICE)?;
        let back = now.is_some_and(|service| service["metadata"]["uid"] != uid);
        Ok(if back { Ok(()) } else { Err("it is not".to_owned()) })
    })?;
    let edited = record(stage, "Changed", "odoo-events")?;
    must(edited["manager"] == "kubectl-edit" && edited["corrected"] == true, || {
        format!("the record of the edit is {edited}")
    })?;
    let deleted = record(stage, "Missing", "odoo-web")?;
    let message = deleted["message"].as_str().unwrap_or_default();
    must(deleted["manager"].is_null() && message.contains("unknown"), || {
        format!("the record of the deletion is {deleted}")
    })?;
    stage.runs_what_git_says("production", "app")
}

fn record(stage: &Stage, form: &str, object: &str) -> Result<Value, Failed> {
    until(&format!("the Sync has a record that {object} was {form}"), PATIENCE, || {
        let sync = stage.cluster.get(&format!("{HOME}/syncs/clinic-production-app"))?;
        let records = sync["status"]["drift"].as_array().cloned().unwrap_or_default();
        let found =
            records.iter().rfind(|r| r["form"] == form && r["object"].to_string().contains(object));
        Ok(found.cloned().ok_or_else(|| format!("it has {records:?}")))
    })
}
