//! What may run, enforced where pods are made.
//!
//! In a labelled namespace the API server lets a pod in only if each of its images stands on
//! that namespace's list of verified ones, by digest and repository. No webhook stands behind
//! it: the list is a ConfigMap that the policy reads as its parameter, so it holds while
//! Tidegate is down, and where the list is missing nothing new runs. Two more policies keep the
//! list the engine's, and the label the platform engineers'.
//!
//! An update is judged by the images it brings, never by those that are there: a pod whose image
//! left the list must still lose its finalizers and get its labels.

use serde_json::{Value, json};

use super::{Admission, COLLECTORS, binding, policy, rule, user, variable};

/// The name of the list in each target namespace, and of the policy that reads it. Its `data`
/// has the 64 hexadecimal digits of each verified digest, and under it the canonical
/// repositories it was verified for, separated by spaces.
pub const VERIFIED_IMAGES: &str = "tidegate-verified-images";

/// The label of namespaces where the policy holds.
pub const VERIFIED_IMAGES_LABEL: &str = "tidegate.dev/verified-images";

/// The value of [`VERIFIED_IMAGES_LABEL`] with which it holds.
pub const ENFORCE: &str = "enforce";

/// Every image of a pod `o` with the place it is at: `web docker.io/library/redis@sha256:…`.
/// Names of containers have no slash, so that volumes cannot be mistaken for them.
const IMAGES: &str = "(o.spec.containers.map(c, c.name + ' ' + c.?image.orValue('')) \
+ o.spec.?initContainers.orValue([]).map(c, c.name + ' ' + c.?image.orValue('')) \
+ o.spec.?ephemeralContainers.orValue([]).map(c, c.name + ' ' + c.?image.orValue('')) \
+ o.spec.?volumes.orValue([]).filter(v, has(v.image)).map(v, 'volume/' + v.name + ' ' + v.image.?reference.orValue('')))";

impl Admission {
    /// The policies on what runs, each followed by its binding.
    pub(super) fn on_images(&self) -> Vec<Value> {
        let pods = pods();
        let mut reads = binding(&pods);
        reads["spec"]["paramRef"] =
            json!({"name": VERIFIED_IMAGES, "parameterNotFoundAction": "Deny"});
        let mut all = vec![pods, reads];
        for policy in [self.list(), label()] {
            let binding = binding(&policy);
            all.extend([policy, binding]);
        }
        all
    }

    /// Only the engine writes the list; Kubernetes' own collectors may clean up after a namespace.
    fn list(&self) -> Value {
        let collectors = COLLECTORS.map(|name| format!("variables.user == '{name}'")).join(" || ");
        let validations = [rule(
            &format!("variables.engine || (request.operation != 'CREATE' && ({collectors}))"),
            "variables.user + ' may not ' + request.operation.lowerAscii() + ' the list of verified images in ' + request.namespace + ': only Tidegate writes it, from what it verified; promote a release, or name the image in spec.alsoVerified of the Environment'",
        )];
        let mut policy = policy(
            "verified-images-list",
            "CREATE",
            &["configmaps"],
            &[user(), self.is_engine()],
            &validations,
        );
        policy["spec"]["matchConstraints"]["resourceRules"] = json!([{
            "apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["configmaps"],
        }]);
        policy["spec"]["matchConditions"] = json!([{
            "name": "is-the-list",
            "expression": format!("(object != null && object.metadata.?name.orValue('') == '{VERIFIED_IMAGES}') || (oldObject != null && oldObject.metadata.?name.orValue('') == '{VERIFIED_IMAGES}')"),
        }]);
        policy
    }
}

/// A pod runs only what is listed.
fn pods() -> Value {
    let by_digest = "i.matches('^[^@ ]+@sha256:[0-9a-f]{64}$')";
    let of = |object: &str| IMAGES.replace("o.spec", &format!("{object}.spec"));
    let mut variables = vec![
        variable("before", &format!("oldObject == null ? [] : {}", of("oldObject"))),
        variable(
            "brought",
            &format!(
                "{}.filter(i, !(i in variables.before)).map(i, i.substring(i.indexOf(' ') + 1))",
                of("object")
            ),
        ),
        variable("loose", &format!("variables.brought.filter(i, !{by_digest})")),
    ];
    variables.extend(canonical(by_digest));
    variables.extend([
        variable("listed", "params.?data.orValue({})"),
        variable(
            "unlisted",
            "variables.canonical.filter(e, !(e.hex in variables.listed && e.name in variables.listed[e.hex].split(' '))).map(e, e.image)",
        ),
    ]);
    let validations = [
        rule(
            "variables.loose.size() == 0",
            "'the image ' + variables.loose[0] + ' is not named by its digest, and only verified digests run in the namespace ' + request.namespace + ': write it as repository@sha256:..., or let the pipeline deliver it, which pins it'",
        ),
        rule(
            "variables.unlisted.size() == 0",
            "'the image ' + variables.unlisted[0] + ' is not on the list of verified images of the namespace ' + request.namespace + ': nothing runs here that Tidegate did not verify for a release of this environment; promote a release with it, or have a platform engineer name it in spec.alsoVerified of the Environment'",
        ),
    ];
    let mut policy = policy("verified-images", "CREATE", &[], &variables, &validations);
    let spec = &mut policy["spec"];
    spec["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    spec["matchConstraints"] = json!({
        "namespaceSelector": {"matchLabels": {VERIFIED_IMAGES_LABEL: ENFORCE}},
        "resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["pods", "pods/ephemeralcontainers"],
        }],
    });
    spec["matchConditions"] = json!([{
        "name": "brings-an-image",
        "expression": format!("oldObject == null || {}.exists(i, !(i in {}))", of("object"), of("oldObject")),
    }]);
    policy
}

/// The images that are named by digest, in canonical spelling: step by step without the tag, with
/// the registry, in `library` (the rules of `distribution/reference`, as `ImageReference` has them).
fn canonical(by_digest: &str) -> [Value; 4] {
    let name = "e.name.lastIndexOf(':') > e.name.lastIndexOf('/') ? e.name.substring(0, e.name.lastIndexOf(':')) : e.name";
    let host = "e.name.contains('/') && (e.name.startsWith('localhost/') || e.name.split('/')[0].contains('.') || e.name.split('/')[0].contains(':') || e.name.split('/')[0] != e.name.split('/')[0].lowerAscii())";
    let with = |name: &str| format!("{{'image': e.image, 'hex': e.hex, 'name': {name}}}");
    [
        variable(
            "stated",
            &format!(
                "variables.brought.filter(i, {by_digest}).map(i, {{'image': i, 'hex': i.substring(i.indexOf('@sha256:') + 8), 'name': i.substring(0, i.indexOf('@'))}})"
            ),
        ),
        variable("named", &format!("variables.stated.map(e, {})", with(&format!("({name})")))),
        variable(
            "placed",
            &format!(
                "variables.named.map(e, {})",
                with(&format!(
                    "({host} ? (e.name.startsWith('index.docker.io/') ? e.name.substring(6) : e.name) : 'docker.io/' + e.name)"
                ))
            ),
        ),
        variable(
            "canonical",
            &format!(
                "variables.placed.map(e, {})",
                with(
                    "(e.name.startsWith('docker.io/') && !e.name.substring(10).contains('/') ? 'docker.io/library/' + e.name.substring(10) : e.name)"
                )
            ),
        ),
    ]
}

/// Whoever decides how environments behave may stop enforcement, and nobody else.
fn label() -> Value {
    let label =
        |object: &str| format!("{object}.metadata.?labels[?'{VERIFIED_IMAGES_LABEL}'].orValue('')");
    let validations = [rule(
        "authorizer.group('tidegate.dev').resource('environmentclasses').check('update').allowed()",
        &format!(
            "variables.user + ' may not take the label {VERIFIED_IMAGES_LABEL} from the namespace ' + request.name + ': it keeps unverified images out, and only who may update environmentclasses decides that'"
        ),
    )];
    let mut policy =
        policy("verified-images-label", "UPDATE", &["namespaces"], &[user()], &validations);
    policy["spec"]["matchConstraints"]["resourceRules"] = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["namespaces", "namespaces/finalize", "namespaces/status"],
    }]);
    policy["spec"]["matchConditions"] = json!([{
        "name": "loses-the-label",
        "expression": format!("{} == '{ENFORCE}' && {} != '{ENFORCE}'", label("oldObject"), label("object")),
    }]);
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::CREDENTIAL_ID;

    fn policies() -> Vec<Value> {
        Admission::new("tidegate-system", "tidegate", CREDENTIAL_ID).policies()
    }

    #[test]
    fn a_missing_list_lets_nothing_in() {
        let binding = policies()
            .into_iter()
            .find(|p| {
                p["kind"] == "ValidatingAdmissionPolicyBinding"
                    && p["metadata"]["name"] == VERIFIED_IMAGES
            })
            .unwrap();
        assert_eq!(
            binding["spec"]["paramRef"],
            json!({"name": VERIFIED_IMAGES, "parameterNotFoundAction": "Deny"})
        );
    }

    #[test]
    fn every_way_to_bring_an_image_into_a_pod_is_matched() {
        let policy = policies().into_iter().find(|p| p["metadata"]["name"] == VERIFIED_IMAGES);
        let rules = policy.unwrap()["spec"]["matchConstraints"]["resourceRules"].clone();
        assert_eq!(rules[0]["resources"], json!(["pods", "pods/ephemeralcontainers"]));
        assert_eq!(rules[0]["operations"], json!(["CREATE", "UPDATE"]));
    }
}
