//! Steps 11 to 14: who vouches for an image, and what may run by it. An identity of the CI service
//! instead of a key, two signers instead of one, a digest that is taken back, and a pod that
//! somebody makes by hand.

use serde_json::{Value, json};

use super::cluster::{HOME, condition};
use super::image::runs;
use super::stage::{PATIENCE, Stage, text, until};
use super::{Failed, must};
use crate::{Identity, Signing, Workflow};

const SYSTEM: &str = "tidegate-system";
const ROOT: &str = "hospital-sigstore";
const POLICIES: &str = "/apis/tidegate.dev/v1alpha1/trustpolicies";
const PODS: &str = "/api/v1/namespaces/clinic-production/pods";

/// Step 11: what the CI service built of the right repository passes without any key; the same
/// workflow run for another repository does not.
pub(super) fn keyless(stage: &Stage) -> Result<(), Failed> {
    let sigstore = stage.lab.sigstore()?;
    stage.cluster.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": ROOT, "namespace": SYSTEM},
        "data": {"trusted_root.json": sigstore.trusted_root()?},
    }))?;
    let ours = Workflow::release("hospital/odoo");
    // A shared workflow: its subject says nothing of whom it ran for.
    let theirs = Workflow { repository: "partner/portal".to_owned(), ..ours.clone() };
    let (source, ours) = (ours.source(), Identity::Workflow(ours));
    let mut policy = hospital_images(stage)?;
    policy["spec"]["roots"] = json!([{"configMap": ROOT}]);
    let authorities = policy["spec"]["require"][0]["anyOf"].as_array_mut();
    authorities.ok_or("the TrustPolicy has no authorities")?.push(json!({"keyless": {
        "issuer": sigstore.issuer(&ours),
        "subject": {"exact": ours.subject()},
        "source": {"repository": source, "ref": {"exact": "refs/heads/main"}},
    }}));
    stage.cluster.apply(&policy)?;

    let (bad, image) = odoo(stage, "17.0.9")?;
    sigstore.sign_keyless(&image, &Identity::Workflow(theirs))?;
    refused(stage, &bad, "partner/portal")?;

    let (good, image) = odoo(stage, "17.0.10")?;
    sigstore.sign_keyless(&image, &ours)?;
    let release = stage.release("app", "that the CI service signed", |r| runs(r, &good))?;
    stage.promotion("dev", "app", &release, "Succeeded")?;
    let found = stage.cluster.get(&format!("{HOME}/releases/{release}"))?;
    let told = verdict(&found, &good)["signers"].to_string();
    must(told.contains(&ours.subject()), || format!("the release's signers are {told}"))
}

/// Step 12: a second policy over the same image asks for two. One signature is told as one of two;
/// with the second the same image goes on by itself.
pub(super) fn two_signers(stage: &Stage) -> Result<(), Failed> {
    let tester = stage.lab.cosign_key("tester")?;
    let release = hospital_images(stage)?["spec"]["require"][0]["anyOf"][0].clone();
    let both = [release, json!({"key": {"pem": tester.public_pem, "log": "none"}})];
    stage.cluster.apply(&json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "TrustPolicy",
        "metadata": {"name": "odoo-four-eyes"},
        "spec": {
            "images": [format!("{}/hospital/odoo", stage.lab.registry())],
            "require": [{"anyOf": both, "count": 2}],
        },
    }))?;
    let content = "stand-in for odoo 17.0.11";
    let digest =
        stage.reference.new_image(&stage.lab, "odoo", "17.0.11", content, Signing::Release)?;
    refused(stage, &digest, "odoo-four-eyes")?;
    stage.lab.sign(&named(stage, &digest), &tester)?;
    let release = stage.release("app", "that two signed", |r| runs(r, &digest))?;
    stage.promotion("dev", "app", &release, "Succeeded")?;
    stage.cluster.delete(&format!("{POLICIES}/odoo-four-eyes"))?;
    stage.promotion("staging", "app", &release, "Succeeded")?;
    Ok(())
}

/// Step 13: the digest that runs in dev and staging is revoked. It goes no further, nothing new
/// starts from it, and whoever looks is told.
pub(super) fn revoked(stage: &Stage) -> Result<(), Failed> {
    let release = stage.release("app", "that runs in staging", |_| true)?;
    let found = stage.cluster.get(&format!("{HOME}/releases/{release}"))?;
    let image = found["spec"]["images"].as_array().into_iter().flatten();
    let odoo = image.filter(|i| text_of(i, "repository").ends_with("/hospital/odoo"));
    let digest = odoo.map(|i| text_of(i, "digest").to_owned()).next();
    let digest = digest.ok_or("the release runs no odoo")?;
    let mut policy = hospital_images(stage)?;
    policy["metadata"]["name"] = "revoked".into();
    let reason = "its build machine was taken over";
    let images = policy["spec"]["images"].clone();
    policy["spec"] = json!({"images": images, "revoked": [{"digest": digest, "reason": reason}]});
    stage.cluster.apply(&policy)?;

    until("what runs is told to be revoked", PATIENCE, || {
        let pipeline = stage.cluster.get(&format!("{HOME}/pipelines/clinic"))?;
        let (verified, message) = condition(&pipeline, "Verified");
        let told = verified == "False" && message.contains(reason);
        Ok(if told { Ok(()) } else { Err(format!("Verified is {verified}: {message}")) })
    })?;
    until("production's gate refuses it", PATIENCE, || {
        let mut all = stage.promotions("production", "app")?;
        all.retain(|p| p["spec"]["release"] == release.as_str());
        let newest = all.pop().unwrap_or_default();
        let (phase, message) = (text(&newest, "phase"), text(&newest, "message"));
        let told = phase == "Refused" && message.contains(reason);
        Ok(if told { Ok(()) } else { Err(format!("it is {phase}: {message}")) })
    })?;
    until("no new pod may run it in dev", PATIENCE, || {
        let path = "/api/v1/namespaces/clinic-dev/pods?dryRun=All";
        let pod = pod("by-hand", "clinic-dev", &named(stage, &digest));
        Ok(match stage.cluster.create(path, &pod) {
            Err(refusal) if refusal.message.contains("list of verified images") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
}

/// Step 14: whoever may make pods may not make them of just anything.
pub(super) fn unlisted(stage: &Stage) -> Result<(), Failed> {
    let content = "stand-in for a miner";
    let digest =
        stage.reference.new_image(&stage.lab, "miner", "1.0.0", content, Signing::Nobody)?;
    let registry = stage.lab.registry();
    for image in [
        format!("{registry}/hospital/miner@{digest}"),
        format!("{registry}/hospital/odoo:17.0.10"),
        format!("docker.io/library/redis@{digest}"),
    ] {
        let made = stage.cluster.create(PODS, &pod("by-hand", "clinic-production", &image));
        let Err(refusal) = made else {
            return Err(Failed(format!("a pod with {image} was let in")));
        };
        let told = refusal.code == 422 || refusal.code == 403;
        must(told && refusal.message.contains(&image), || {
            format!("the refusal of {image} does not name it: {refusal}")
        })?;
    }
    let running = stage.cluster.list(PODS)?;
    let listed = running.iter().find_map(|pod| pod["spec"]["containers"][0]["image"].as_str());
    let listed = listed.ok_or("nothing runs in production")?;
    let may = pod("by-hand", "clinic-production", listed);
    stage.cluster.create(&format!("{PODS}?dryRun=All"), &may)?;
    Ok(())
}

fn hospital_images(stage: &Stage) -> Result<Value, Failed> {
    let objects = stage.reference.tidegate_objects()?;
    let policy = objects.into_iter().find(|object| object["kind"] == "TrustPolicy");
    Ok(policy.ok_or("the reference has no TrustPolicy")?)
}

/// A new version of Odoo that nobody signed yet: its digest, and its name by digest.
fn odoo(stage: &Stage, tag: &str) -> Result<(String, String), Failed> {
    let content = format!("stand-in for odoo {tag}");
    let digest = stage.reference.new_image(&stage.lab, "odoo", tag, &content, Signing::Nobody)?;
    let name = named(stage, &digest);
    Ok((digest, name))
}

fn named(stage: &Stage, digest: &str) -> String {
    format!("{}/hospital/odoo@{digest}", stage.lab.registry())
}

/// The candidate with this image is refused, and the reasons say this.
fn refused(stage: &Stage, digest: &str, reason: &str) -> Result<(), Failed> {
    until(&format!("an image is refused because of {reason}"), PATIENCE, || {
        let pipeline = stage.cluster.get(&format!("{HOME}/pipelines/clinic"))?;
        let refused = pipeline["status"]["refused"].as_array().cloned().unwrap_or_default();
        let told = refused.iter().any(|candidate| {
            text_of(candidate, "image").ends_with(digest)
                && candidate["reasons"].to_string().contains(reason)
        });
        let last = refused.last().cloned().unwrap_or_default();
        Ok(if told { Ok(()) } else { Err(format!("the last refused candidate is {last}")) })
    })
}

fn verdict<'a>(release: &'a Value, digest: &str) -> &'a Value {
    let images = release["spec"]["images"].as_array();
    let image = images.and_then(|images| images.iter().find(|image| image["digest"] == digest));
    image.map_or(&Value::Null, |image| &image["verdict"])
}

fn text_of<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// A pod that the namespaces' own rules let in, so that only its image can keep it out.
fn pod(name: &str, namespace: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": image,
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}
