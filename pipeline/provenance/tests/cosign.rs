//! What cosign 3.1 signs and a registry keeps, read by the registry reader and verified here.
//! What cosign refuses must be refused, too. Most cases are kept as fixtures, which
//! `cargo xtask interop cosign --write` makes again against a private Sigstore.

#![allow(clippy::unwrap_used, reason = "tests")]

use tidegate_harness::{CosignKey, Lab};
use tidegate_ids::Digest;
use tidegate_outbound::{Options, Registry, Repository};
use tidegate_provenance::{Attached, Gathered, ImageRef, Rules, TrustRule, Verdict, verify};

struct Hospital {
    lab: &'static Lab,
    repository: Repository,
}

impl Hospital {
    fn new() -> Self {
        let lab = Lab::attach_or_start().unwrap();
        let registry =
            Registry::new(Options { plain_http_on_loopback: true, ..Options::default() }).unwrap();
        let name = format!("{}/provenance/odoo", lab.registry()).parse().unwrap();
        let repository = registry.repository(name);
        Self { lab, repository }
    }

    fn push(&self, tag: &str) -> Digest {
        let labels = [("org.opencontainers.image.version", tag)];
        self.lab.push_image("provenance/odoo", tag, tag, &labels).unwrap().parse().unwrap()
    }

    fn image(&self, digest: Digest) -> ImageRef {
        ImageRef { repository: self.repository.name().to_string(), digest }
    }

    async fn judge(&self, digest: Digest, key: &CosignKey) -> Verdict {
        let spec = serde_json::json!({
            "images": [format!("{}/provenance/*", self.lab.registry())],
            "require": [{"anyOf": [{"key": {"secret": "release-key", "log": "none"}}]}],
        });
        let secrets = [("release-key".to_owned(), key.public_pem.clone())].into();
        let materials = Gathered { secrets, ..Gathered::default() };
        let spec = serde_json::from_value(spec).unwrap();
        let rule = TrustRule::from_policy("hospital-images", &spec, &materials).unwrap();
        let bundles = self.repository.bundles(digest).await.unwrap();
        let attached: Vec<_> = bundles.into_iter().map(Attached::bundle).collect();
        let now = jiff::Timestamp::UNIX_EPOCH;
        verify(&self.image(digest).into(), &attached, &Rules::new(vec![rule]), now).verdict
    }
}

#[tokio::test]
async fn cosign_and_we_agree_on_what_is_signed() {
    let hospital = Hospital::new();
    let lab = hospital.lab;
    let key = &lab.cosign_key("provenance-release").unwrap();

    let signed = hospital.push("17.0.1");
    let signature = lab.sign(&hospital.image(signed).to_string(), key).unwrap();
    let verdict = hospital.judge(signed, key).await;
    assert_eq!(verdict.record().signers, ["release-key"], "{verdict:?}");
    lab.verify(&hospital.image(signed).to_string(), key).unwrap();

    let unsigned = hospital.push("17.0.2");
    let refused = |digest, expected: &'static str| {
        let hospital = &hospital;
        async move {
            let reasons = hospital.judge(digest, key).await.record().reasons.join("\n");
            assert!(reasons.contains(expected), "{reasons}");
            lab.verify(&hospital.image(digest).to_string(), key).unwrap_err();
        }
    };
    refused(unsigned, "nothing is attached").await;

    let stranger = lab.cosign_key("provenance-stranger").unwrap();
    let by_another = hospital.push("17.0.3");
    lab.sign(&hospital.image(by_another).to_string(), &stranger).unwrap();
    refused(by_another, "another key").await;

    let moved = hospital.push("17.0.4");
    lab.attach_signature(&signature, &hospital.image(moved).to_string()).unwrap();
    refused(moved, "not about this image's sha256:").await;
}

#[tokio::test]
async fn the_registry_is_read_as_crane_wrote_it() {
    let hospital = Hospital::new();
    let digest = hospital.push("18.0.0");
    let repository = &hospital.repository;
    assert!(repository.tags().await.unwrap().contains(&"18.0.0".to_owned()));
    assert_eq!(repository.resolve("18.0.0").await.unwrap(), digest);
    let config = repository.image_config(digest).await.unwrap();
    assert_eq!(config.labels["org.opencontainers.image.version"], "18.0.0");
    let absent = repository.resolve("18.0.1").await.unwrap_err();
    assert!(matches!(absent, tidegate_outbound::Error::NotFound { .. }), "{absent}");
}

/// Each case of `cargo xtask interop cosign` again, from what it kept.
mod kept {
    use std::path::PathBuf;

    use serde_json::Value;
    use tidegate_provenance::{Attached, Gathered, ImageRef, Rules, Subject, TrustRule, verify};

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cosign")
    }

    fn attached(one: &Value) -> Attached {
        let content = |name: &Value| {
            let bytes = std::fs::read(folder().join("content").join(name.as_str().unwrap()));
            bytes.unwrap()
        };
        if one["bundle"].is_string() {
            return Attached::bundle(content(&one["bundle"]));
        }
        let content = content(&one["layer"]);
        Attached::Layer {
            digest: tidegate_ids::Digest::of(&content),
            media_type: one["mediaType"].as_str().unwrap().to_owned(),
            annotations: serde_json::from_value(one["annotations"].clone()).unwrap(),
            content,
        }
    }

    /// Whether we accept the case, and why not.
    fn said(case: &Value) -> (bool, String) {
        let (repository, digest) = case["image"].as_str().unwrap().split_once('@').unwrap();
        let image = ImageRef { repository: repository.into(), digest: digest.parse().unwrap() };
        let root = std::fs::read_to_string(folder().join("trusted_root.json")).unwrap();
        let config_maps = [("lab".to_owned(), root)].into();
        let materials = Gathered { config_maps, ..Gathered::default() };
        let spec = serde_json::from_value(case["policy"].clone()).unwrap();
        let rule = TrustRule::from_policy("hospital-images", &spec, &materials).unwrap();
        let attached: Vec<_> = case["attached"].as_array().unwrap().iter().map(attached).collect();
        let now = case["now"].as_str().unwrap().parse().unwrap();
        let verdict =
            verify(&Subject::from(image), &attached, &Rules::new(vec![rule]), now).verdict;
        (verdict.passed().is_some(), verdict.record().reasons.join("; "))
    }

    #[test]
    fn each_kept_case_comes_out_as_it_did_beside_cosign() {
        let index = std::fs::read_to_string(folder().join("index.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_str(&index).unwrap();
        assert!(cases.len() > 40, "only {} cases are kept", cases.len());
        for case in &cases {
            let name = &case["name"];
            let (accepted, reasons) = said(case);
            assert_eq!(accepted, case["tidegate"] == "accepts", "{name}: {reasons}");
            let differs = case["cosign"] != case["tidegate"];
            assert_eq!(differs, case["stricter"].is_string(), "{name}: a difference has a reason");
            assert!(!(differs && accepted), "{name}: cosign refuses it");
            assert!(reasons.contains(case["because"].as_str().unwrap()), "{name}: {reasons}");
        }
    }
}
