//! What the schema of TrustPolicy refuses, by the API server's own word: each rule by an example
//! that breaks it alone, beside the same policy without that mistake, which is accepted.

use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tidegate_schemas::TrustPolicy;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

pub async fn what_can_never_match_is_refused(admin: &Client) {
    assert_eq!(refusal(admin, &whole()).await, "", "the whole policy is accepted");
    for (mistake, at, wrong, words) in mistakes() {
        let mut policy = whole();
        *policy.pointer_mut(at).unwrap_or_else(|| panic!("{mistake}: no {at}")) = wrong;
        let said = refusal(admin, &policy).await;
        assert!(said.contains(words), "{mistake}: {said:?} does not say {words:?}");
    }
    for (what, spec) in others() {
        assert_eq!(refusal(admin, &spec).await, "", "{what} is accepted");
    }
}

async fn refusal(admin: &Client, spec: &Value) -> String {
    let policy = serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "TrustPolicy",
        "metadata": {"name": "tried"}, "spec": spec,
    }));
    let policy: kube::api::DynamicObject = policy.unwrap();
    let resource = kube::api::ApiResource::erase::<TrustPolicy>(&());
    let api: Api<kube::api::DynamicObject> = Api::all_with(admin.clone(), &resource);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, &policy).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// A policy that uses every field that a rule is about.
fn whole() -> Value {
    json!({
        "images": ["registry.example.com/hospital/*", "registry.example.com:5000/odoo"],
        "require": [{
            "anyOf": [
                {"key": {
                    "secret": "release", "log": "required",
                    "validFrom": "2026-01-01T00:00:00Z", "validUntil": "2027-01-01T00:00:00Z",
                }},
                {"keyless": {
                    "issuer": GITHUB,
                    "subject": {"regex": "https://github\\.com/hospital/.+"},
                    "source": {"repository": "hospital/odoo", "ref": {"exact": "refs/heads/main"}},
                }},
            ],
            "count": 2, "logs": 1, "timestamps": 1,
        }],
        "roots": [{"publicGood": true}],
        "attestations": [
            {"slsa": {"builder": {"exact": "https://ci.example.com/1"}}},
            {"custom": {"name": "review", "type": "https://example.com/review", "rule": "true"}},
        ],
        "base": {"approved": [{"image": "registry.example.com/base/*"}]},
        "static": [{
            "digest": DIGEST, "owner": "jane", "approvedBy": "omar", "reason": "r",
            "expires": "2027-01-01T00:00:00Z",
        }],
        "revoked": [
            {"digest": DIGEST, "reason": "r"},
            {"key": DIGEST, "since": "2026-01-01T00:00:00Z", "reason": "r"},
            {"identity": {"issuer": GITHUB, "subject": {"exact": "eve"}}, "reason": "r"},
        ],
    })
}

type Mistake = (&'static str, &'static str, Value, &'static str);

#[rustfmt::skip]
fn mistakes() -> Vec<Mistake> {
    let key = "/require/0/anyOf/0/key";
    let subject = "/require/0/anyOf/1/keyless/subject";
    let any_of = "/require/0/anyOf";
    vec![
        ("it demands nothing", "", json!({"images": ["a.example.com/b"]}), "say who must have signed"),
        ("it demands nothing in so many words", "", json!({"images": ["a.example.com/b"], "require": [], "static": [], "revoked": []}), "say who must have signed"),
        ("attestations by an empty list", "/require", json!([]), "attestations need require"),
        ("attestations by nobody", "", without(&["require", "base"]), "attestations need require"),
        ("a base by nobody", "", without(&["require", "attestations"]), "base needs require"),
        ("a log without roots", "", without(&["roots"]), "need roots"),
        ("a keyless attester without roots", "", attested_without_roots(), "in attestations need roots"),
        ("timestamps without roots", "", stamped_without_roots(), "logs and timestamps need roots"),
        ("no image", "/images", json!([]), "at least 1"),
        ("a star in the middle", "/images/0", json!("registry.example.com/*/odoo"), "an image name is"),
        ("a star for everything", "/images/0", json!("*"), "an image name is"),
        ("upper case", "/images/0", json!("registry.example.com/Odoo"), "an image name is"),
        ("a tag", "/images/0", json!("registry.example.com/odoo:17"), "an image name is"),
        ("a name without its registry", "/images/0", json!("odoo"), "an image name is"),
        ("a short name of Docker Hub", "/images/0", json!("docker.io/redis"), "docker.io/library/redis"),
        ("an old name of Docker Hub", "/images/0", json!("index.docker.io/library/redis"), "docker.io/library/redis"),
        ("more signers than there are", "/require/0/count", json!(3), "count is more than there are authorities"),
        ("nobody", "/require/0/count", json!(0), "greater than or equal to 1"),
        ("nobody to choose from", any_of, json!([]), "at least 1"),
        ("neither key nor keyless", "/require/0/anyOf/0", json!({}), "exactly one of key and keyless"),
        ("a key of nowhere", key, json!({"log": "required"}), "exactly one of secret and pem"),
        ("a key of two places", key, json!({"secret": "a", "pem": "b"}), "exactly one of secret and pem"),
        ("a window that ends before it begins", "/require/0/anyOf/0/key/validUntil", json!("2025-01-01T00:00:00Z"), "validFrom must be before validUntil"),
        ("the same key twice", any_of, json!([{"key": {"secret": "a"}}, {"key": {"secret": "a"}}]), "same authority twice"),
        ("an issuer that is no URL", "/require/0/anyOf/1/keyless/issuer", json!("github"), "issuer is an https:// URL"),
        ("a CI service without its source", "/require/0/anyOf/1/keyless", json!({"issuer": GITHUB, "subject": {"exact": "a"}}), "must name source.repository"),
        ("a subject in two ways", subject, json!({"exact": "a", "regex": "a"}), "exactly one of exact and regex"),
        ("a subject in no way", subject, json!({}), "exactly one of exact and regex"),
        ("an expression that matches nothing", subject, json!({"regex": ".*"}), "regex matches an empty text"),
        ("an alternative that matches nothing", subject, json!({"regex": "a|"}), "regex matches an empty text"),
        ("an expression that is none", subject, json!({"regex": "a("}), "regex"),
        ("an expression that leaves its anchors", subject, json!({"regex": "a)|(b"}), "regex"),
        ("a root in two ways", "/roots/0", json!({"publicGood": true, "configMap": "a"}), "exactly one of publicGood and configMap"),
        ("a root that is not", "/roots/0", json!({"publicGood": false}), "publicGood is true or left out"),
        ("a statement about nothing", "/attestations/0", json!({}), "exactly one of slsa"),
        ("a signature as a statement", "/attestations/1/custom/type", json!("https://sigstore.dev/cosign/sign/v1"), "type is that of a signature"),
        ("a base by its short name", "/base/approved/0/image", json!("Debian"), "an image name is"),
        ("a base by Docker Hub's short name", "/base/approved/0/image", json!("docker.io/debian"), "docker.io/library/debian"),
        ("no base", "/base/approved", json!([]), "at least 1"),
        ("one person alone", "/static/0/approvedBy", json!("jane"), "another person than owner"),
        ("one person in two spellings", "/static/0/approvedBy", json!(" Jane"), "another person than owner"),
        ("nothing revoked", "/revoked/0", json!({"reason": "r"}), "exactly one of digest, key and identity"),
        ("two things revoked at once", "/revoked/0", json!({"digest": DIGEST, "key": DIGEST, "reason": "r"}), "exactly one of digest, key and identity"),
        ("a digest revoked since a day", "/revoked/0", json!({"digest": DIGEST, "since": "2026-01-01T00:00:00Z", "reason": "r"}), "a revoked digest is revoked altogether"),
    ]
}

fn without(fields: &[&str]) -> Value {
    let mut policy = whole();
    for field in fields {
        policy.as_object_mut().unwrap().remove(*field);
    }
    policy
}

fn attested_without_roots() -> Value {
    let keyless = whole()["require"][0]["anyOf"][1].clone();
    json!({
        "images": ["a.example.com/b"],
        "require": [{"anyOf": [{"key": {"secret": "a", "log": "none"}}]}],
        "attestations": [{"by": [keyless], "sbom": {}}],
    })
}

fn stamped_without_roots() -> Value {
    let key = json!({"key": {"secret": "a", "log": "none"}});
    json!({"images": ["a.example.com/b"], "require": [{"anyOf": [key], "timestamps": 1}]})
}

/// What looks unusual and is meant.
fn others() -> Vec<(&'static str, Value)> {
    let key = |log: &str| json!({"anyOf": [{"key": {"secret": "a", "log": log}}]});
    let names = [
        "localhost/a",
        "registry:5000/a",
        "127.0.0.1:5000/a/*",
        "docker.io/library/redis",
        "docker.io/*",
        "ghcr.io/a/b__c/*",
    ];
    let names = json!({"images": names, "revoked": whole()["revoked"]});
    let mut all = vec![("names with ports, of this machine and of a whole registry", names)];
    all.extend([
        (
            "a key without a log, without roots",
            json!({"images": ["a.example.com/b"], "require": [key("none")]}),
        ),
        (
            "a list of exceptions alone",
            json!({"images": ["a.example.com/b"], "static": whole()["static"]}),
        ),
        (
            "revocations alone",
            json!({"images": ["a.example.com/*"], "revoked": whole()["revoked"]}),
        ),
        (
            "one key in two windows",
            json!({"images": ["a.example.com/*"], "roots": [{"configMap": "r"}], "require": [{"anyOf": [
                {"key": {"secret": "a", "validUntil": "2026-01-01T00:00:00Z"}},
                {"key": {"secret": "a", "validFrom": "2026-06-01T00:00:00Z"}},
            ]}]}),
        ),
    ]);
    all
}
