//! What the cases are made with: the lab, its Sigstore, people, keys and policies.

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_harness::{CosignKey, Identity, Lab, LabError, Sigstore, Workflow};

use super::judge::{Case, ROOT, Word};

const REPOSITORY: &str = "interop/odoo";

/// The lab with its people.
pub(super) struct Stand {
    pub(super) lab: &'static Lab,
    pub(super) sigstore: &'static Sigstore,
    pub(super) key: CosignKey,
    pub(super) other_key: CosignKey,
    pub(super) person: Identity,
    pub(super) workflow: Workflow,
}

impl Stand {
    pub(super) fn new(lab: &'static Lab) -> Result<Self, LabError> {
        Ok(Self {
            lab,
            sigstore: lab.sigstore()?,
            key: lab.cosign_key("interop-release")?,
            other_key: lab.cosign_key("interop-other")?,
            person: Identity::person("release@hospital.example"),
            workflow: Workflow::release("hospital/odoo"),
        })
    }

    /// A new image of its own for a case.
    pub(super) fn image(&self, tag: &str) -> Result<String, LabError> {
        let digest = self.lab.push_image(REPOSITORY, tag, tag, &[])?;
        Ok(format!("{}/{REPOSITORY}@{digest}", self.lab.registry()))
    }

    /// A policy with these requirements.
    pub(super) fn policy(&self, require: &[Value]) -> Value {
        let images = [format!("{}/interop/*", self.lab.registry())];
        json!({"images": images, "roots": [{"configMap": ROOT}], "require": require})
    }

    /// A policy that asks for one of one.
    pub(super) fn by(&self, authority: &Value) -> Value {
        self.policy(&[any_of(std::slice::from_ref(authority))])
    }

    pub(super) fn keyless(&self, identity: &Identity) -> Value {
        json!({"keyless": {
            "issuer": self.sigstore.issuer(identity),
            "subject": {"exact": identity.subject()},
        }})
    }

    /// A workflow with all that its certificate says and cosign can ask for, too.
    pub(super) fn workflow(&self, workflow: &Workflow) -> Value {
        let mut authority = self.keyless(&Identity::Workflow(workflow.clone()));
        let stated = &mut authority["keyless"];
        stated["source"] = json!({
            "repository": workflow.source(),
            "repositoryId": workflow.repository_id,
            "ref": {"exact": workflow.ref_},
        });
        stated["trigger"] = json!(workflow.trigger);
        stated["runner"] = json!(workflow.runner);
        authority
    }

    /// cosign's question for an identity.
    pub(super) fn asks_for(&self, identity: &Identity) -> Vec<String> {
        let (subject, issuer) = (identity.subject(), self.sigstore.issuer(identity));
        words(&["verify", "--certificate-identity", &subject, "--certificate-oidc-issuer", &issuer])
    }
}

/// Now: cosign signs by the clock, so what is signed is judged by it.
#[allow(clippy::disallowed_methods, reason = "a developer's command, not the product")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

pub(super) fn any_of(authorities: &[Value]) -> Value {
    json!({"anyOf": authorities})
}

/// The holder of a key, with or without a log.
pub(super) fn key(key: &CosignKey, log: &str) -> Value {
    json!({"key": {"pem": key.public_pem, "log": log}})
}

/// cosign's question for a key whose signatures are in the log.
pub(super) fn logged(key: &CosignKey) -> Vec<String> {
    words(&["verify", "--key", &key.public.to_string_lossy()])
}

/// cosign's question for a key without a log.
pub(super) fn unlogged(key: &CosignKey) -> Vec<String> {
    let key = key.public.to_string_lossy();
    words(&["verify", "--insecure-ignore-tlog", "--key", &key])
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

impl Case {
    /// Both must accept.
    pub(super) fn accepted(
        name: &'static str,
        image: String,
        policy: Value,
        cosign: Vec<String>,
    ) -> Self {
        let (expected, because) = (Word::Accepted, "");
        let cosign = vec![cosign];
        Self { name, image, policy, cosign, expected, because, stricter: None, hours: 0 }
    }

    /// Both must refuse, Tidegate with these words.
    pub(super) fn refused(
        name: &'static str,
        because: &'static str,
        image: String,
        policy: Value,
        cosign: Vec<String>,
    ) -> Self {
        let expected = Word::Refused;
        Self { expected, because, ..Self::accepted(name, image, policy, cosign) }
    }

    /// cosign accepts, for the reason that it lacks what is said here.
    pub(super) fn stricter(self, why: &'static str) -> Self {
        Self { stricter: Some(why), ..self }
    }

    /// cosign is asked this, too.
    pub(super) fn and(mut self, cosign: Vec<String>) -> Self {
        self.cosign.push(cosign);
        self
    }

    /// Tidegate is asked a day later, when no certificate is valid any more.
    pub(super) fn a_day_later(self) -> Self {
        Self { hours: 24, ..self }
    }
}
