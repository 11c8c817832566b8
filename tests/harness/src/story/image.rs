//! Steps 2 and 3: images. What the release build signed travels and waits at production in words;
//! what it did not sign never reaches dev, and the reason is told.

use serde_json::Value;

use super::stage::{PATIENCE, Stage, branch, text, until};
use super::{Failed, must};
use crate::Signing;
use crate::story::cluster::HOME;

/// Whether a release runs an image.
pub(super) fn runs(release: &Value, digest: &str) -> bool {
    let images = release["spec"]["images"].as_array();
    images.is_some_and(|images| images.iter().any(|image| image["digest"] == digest))
}

/// A new version of Odoo, signed by the release build, and the release that it makes, waiting at
/// production.
pub(super) fn new_version(stage: &Stage, tag: &str) -> Result<(String, Value), Failed> {
    let content = format!("stand-in for odoo {tag}");
    let digest = stage.reference.new_image(&stage.lab, "odoo", tag, &content, Signing::Release)?;
    let release = stage.release("app", &format!("with odoo {tag}"), |r| runs(r, &digest))?;
    stage.passes_dev_and_staging("app", &release)?;
    Ok((digest, stage.waits_for_people("app", &release)?))
}

pub(super) fn waits(stage: &Stage) -> Result<(), Failed> {
    stage.reference.edit("bases/app/odoo.conf", |text| {
        text.replace("limit_time_real = 240", "limit_time_real = 300")
    })?;
    let commit = stage.push("ann", "Give reports more time")?;
    let of_commit = |release: &Value| release["spec"]["source"]["commit"] == commit.as_str();
    let former = stage.release("app", "of Ann's commit", of_commit)?;
    stage.passes_dev_and_staging("app", &former)?;
    stage.waits_for_people("app", &former)?;

    let (digest, promotion) = new_version(stage, "17.0.2")?;
    let sentence = "rule release needs 2 approvals from release-managers; so far nobody approved";
    let message = text(&promotion, "message");
    must(message.contains(sentence), || format!("the promotion says {message:?}"))?;
    stage.promotion("production", "app", &former, "Superseded")?;

    let image = format!("{}/hospital/odoo@{digest}", stage.lab.registry());
    let wait = |environment: &str| {
        let arguments = ["wait", &image, "--env", environment, "--timeout", "20s"];
        stage.said_to("vic", &[&arguments[..], &["--fail-on-approval"]].concat())
    };
    let said = wait("production")?;
    must(said.code == 5 && said.text.contains(sentence), || {
        format!("tidegate wait ended with {} and said {:?}", said.code, said.text)
    })?;
    let said = wait("staging")?;
    must(said.code == 0, || {
        format!("tidegate wait for staging ended with {} and said {:?}", said.code, said.text)
    })
}

pub(super) fn refused(stage: &Stage) -> Result<(), Failed> {
    let head = stage.head("dev", "app");
    for (tag, signing, reason) in [
        ("17.0.3", Signing::Nobody, "no signature"),
        ("17.0.4", Signing::OtherKey, "signed by another key"),
        ("17.0.5", Signing::OfAnotherImage, "not about this image"),
    ] {
        let content = format!("stand-in for odoo {tag}");
        let digest = stage.reference.new_image(&stage.lab, "odoo", tag, &content, signing)?;
        until(&format!("odoo {tag} is refused because of: {reason}"), PATIENCE, || {
            let pipeline = stage.cluster.get(&format!("{HOME}/pipelines/clinic"))?;
            let refused = pipeline["status"]["refused"].as_array().cloned().unwrap_or_default();
            let told = refused.iter().any(|candidate| {
                candidate["image"].as_str().is_some_and(|image| image.ends_with(&digest))
                    && candidate["reasons"].to_string().contains(reason)
            });
            let last = refused.last().cloned().unwrap_or_default();
            Ok(if told { Ok(()) } else { Err(format!("the last refused candidate is {last}")) })
        })?;
        let explained = stage.said_to("vic", &["explain", "pipeline", "clinic"])?;
        must(explained.text.contains(reason), || {
            format!("tidegate explain does not say {reason:?}: {}", explained.text)
        })?;
        never_reached_dev(stage, &digest)?;
    }
    must(stage.head("dev", "app") == head, || format!("{} moved", branch("dev", "app")))
}

fn never_reached_dev(stage: &Stage, digest: &str) -> Result<(), Failed> {
    for kind in
        ["apps/v1/namespaces/clinic-dev/deployments", "apps/v1/namespaces/clinic-dev/replicasets"]
    {
        for object in stage.cluster.list(&format!("/apis/{kind}"))? {
            must(!object["spec"].to_string().contains(digest), || {
                format!("{digest} is in {} of clinic-dev", super::name(&object))
            })?;
        }
    }
    for release in stage.cluster.list(&format!("{HOME}/releases"))? {
        must(!runs(&release, digest), || format!("{} has {digest}", super::name(&release)))?;
    }
    Ok(())
}
