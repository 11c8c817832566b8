//! Step 4: approvals are people's own word. Whoever may not give it, gives it for somebody else or
//! claims to be more than they are is refused by the API server; who wrote the change and one
//! person under two names do not open the gate; two release managers do.

use serde_json::{Value, json};

use super::cluster::{Cluster, HOME, Impersonated, name};
use super::stage::{PATIENCE, Stage, until};
use super::{Failed, must};

pub(super) fn open_the_gate(stage: &Stage) -> Result<(), Failed> {
    let promotion = stage.promotions("production", "app")?.pop().unwrap_or_default();
    forged(stage, &promotion)?;
    let promotion = name(&promotion);

    stage.approve("ann", promotion)?;
    recorded(stage, promotion, &["ann"], &["author of this change"])?;
    let jane = ["jane", "oidc:jane@hospital.example"];
    for user in jane {
        stage.approve(user, promotion)?;
    }
    recorded(stage, promotion, &jane, &["already counted"])?;
    let still = stage.cluster.get(&format!("{HOME}/promotions/{promotion}"))?;
    must(still["status"]["phase"] == "Waiting", || format!("{promotion} did not wait: {still}"))?;
    stage.approve("joe", promotion)?;

    let release = still["spec"]["release"].as_str().unwrap_or_default();
    stage.promotion("production", "app", release, "Succeeded")?;
    stage.runs_what_git_says("production", "app")?;
    stage.runs_nothing_else("production")
}

/// Everything that the API server refuses.
fn forged(stage: &Stage, promotion: &Value) -> Result<(), Failed> {
    let said = stage.said_to("vic", &["approve", name(promotion), "--reason", "why not"])?;
    must(said.code != 0, || format!("vic, who may only read, approved: {}", said.text))?;

    let managers: &[&str] = &["release-managers"];
    let by = |user: &str| Cluster::open(&stage.reference.kubeconfig(user)?);
    let admin = stage.lab.kubeconfig();
    let joe = Impersonated { user: "joe", groups: &["release-managers", "system:authenticated"] };
    let pretending = Cluster::open_as(&admin, Some(joe))?;
    for (what, who, user, groups, because) in [
        ("vic, who holds no right to approve,", by("vic")?, "vic", &[][..], "vic"),
        ("joe in jane's name", by("joe")?, "jane", managers, "this request was made by joe"),
        ("an administrator as joe", pretending, "joe", managers, "this request is impersonated"),
        ("pia as a release manager", by("pia")?, "pia", managers, "that spec.groups claims"),
    ] {
        match who.create(&format!("{HOME}/approvals"), &approval(promotion, user, groups)) {
            Err(refusal) => must(refusal.message.contains(because), || {
                format!("{what} was refused for another reason: {refusal}")
            })?,
            Ok(made) => return Err(Failed(format!("{what} could approve: {}", name(&made)))),
        }
    }
    Ok(())
}

fn approval(promotion: &Value, user: &str, groups: &[&str]) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Approval",
        "metadata": {"generateName": "forged-", "namespace": "clinic"},
        "spec": {
            "promotion": name(promotion),
            "promotionUid": promotion["metadata"]["uid"],
            "environment": "production",
            "change": promotion["status"]["change"],
            "decision": "Approve", "user": user, "groups": groups, "reason": "forged",
        },
    })
}

/// Waits until these users' approvals are in the journal. All count but those for which a reason is
/// expected; of approvals of one second, which one is counted is not said.
fn recorded(
    stage: &Stage,
    promotion: &str,
    users: &[&str],
    expected: &[&str],
) -> Result<(), Failed> {
    until(&format!("the approvals of {users:?} are in the journal"), PATIENCE, || {
        let journal = stage.cluster.get(&format!("{HOME}/promotions/{promotion}"))?;
        let mut own = journal["status"]["approvals"].as_array().cloned().unwrap_or_default();
        own.retain(|a| users.iter().any(|user| a["user"] == *user));
        if own.len() < users.len() {
            return Ok(Err(format!("there are {own:?}")));
        }
        let whys: Vec<_> =
            own.iter().filter(|a| a["counts"] == false).filter_map(|a| a["why"].as_str()).collect();
        let as_expected = whys.len() == expected.len()
            && whys.iter().zip(expected).all(|(why, part)| why.contains(part));
        must(as_expected, || format!("the approvals are recorded as {own:?}"))?;
        Ok(Ok(()))
    })
}
