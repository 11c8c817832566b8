//! What cosign 3.1 signs and a registry keeps, read by the registry reader and verified here.
//! What cosign refuses must be refused, too. Most cases are kept as fixtures, which
//! `cargo xtask interop cosign --write` makes again against a private Sigstore.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixtures;

use tidegate_harness::{CosignKey, Lab};
use tidegate_ids::Digest;
use tidegate_outbound::{Found, Options, Registry, Repository};
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
        let found = self.repository.attached(digest).await.unwrap();
        let bundle = |one| match one {
            Found::Bundle { digest, json } => Attached::Bundle { digest, json },
            Found::Layer { digest, .. } | Found::Unreadable { digest, .. } => {
                let why = "not the bundle that cosign attaches".to_owned();
                Attached::Unreadable { digest, why }
            }
        };
        let attached: Vec<_> = found.into_iter().map(bundle).collect();
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
