//! What an image is built on.

use super::*;

pub(super) fn base(stated: Value) -> BaseRule {
    let stated: BaseImages = serde_json::from_value(stated).unwrap();
    BaseRule::from_schema(&stated).unwrap()
}

#[test]
fn every_image_that_went_into_a_build_must_be_approved() {
    let approved = |image: &str| base(json!({"approved": [{"image": image}]}));
    let pinned = |digest: &str| {
        base(json!({"approved": [{"image": "ghcr.io/hospital/base", "digests": [digest]}]}))
    };
    let built = proved(V1, buildkit());
    let judge = |rule: &BaseRule, one: &Proved| rule.judge(&[one], &subject());
    assert_eq!(
        judge(&approved("ghcr.io/hospital/*"), &built).unwrap(),
        format!("built on ghcr.io/hospital/base@sha256:{HEX}")
    );
    judge(&pinned(&format!("sha256:{HEX}")), &built).unwrap();
    let mut staged = buildkit();
    staged["buildDefinition"]["resolvedDependencies"]
        .as_array_mut()
        .unwrap()
        .push(json!({"uri": "pkg:docker/golang@1.23", "digest": {"sha256": HEX}}));
    let mut lying = buildkit();
    lying["buildDefinition"]["resolvedDependencies"][0]["uri"] =
        json!(format!("pkg:docker/ghcr.io/hospital/base@12?digest={}", image()));
    let said = |result: Result<String, Vec<String>>| result.unwrap_err().join("\n");
    let cases = [
        said(judge(&approved("ghcr.io/other/*"), &built)),
        said(judge(&pinned(&image().to_string()), &built)),
        said(judge(&approved("ghcr.io/hospital/base"), &proved(V1, staged))),
        said(judge(&approved("ghcr.io/hospital/base"), &proved(V1, github()))),
        said(judge(&approved("ghcr.io/hospital/base"), &proved(V1, lying))),
        said(judge(&approved("ghcr.io/hospital/base"), &proved(V1, tekton()))),
        said(approved("ghcr.io/hospital/base").judge(&[], &subject())),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn annotations_name_one_base() {
    let rule = |digests: Value| {
        base(
            json!({"from": "Annotations", "approved": [{"image": "docker.io/library/debian", "digests": digests}]}),
        )
    };
    let judge = |rule: &BaseRule, name: &str, digest: &str| {
        let mut subject = subject();
        for (key, text) in [("name", name), ("digest", digest)] {
            if !text.is_empty() {
                let key = format!("org.opencontainers.image.base.{key}");
                subject.annotations.insert(key, text.to_owned());
            }
        }
        rule.judge(&[], &subject)
    };
    let (any, one) = (rule(json!([])), rule(json!([format!("sha256:{HEX}")])));
    judge(&any, "debian:12", "").unwrap();
    judge(&one, "docker.io/library/debian:12", &format!("sha256:{HEX}")).unwrap();
    judge(&one, &format!("debian@sha256:{HEX}"), "").unwrap();
    for (rule, name, digest) in [
        (&any, "", ""),
        (&any, "debian-evil:12", ""),
        (&any, "docker.io.evil.example/library/debian", ""),
        (&any, "debian", "sha256:00"),
        (&one, "debian:12", ""),
        (&one, "debian:12", &image().to_string()),
        (&one, &format!("debian@sha256:{HEX}"), &image().to_string()),
    ] {
        assert!(judge(rule, name, digest).is_err(), "{name} {digest}");
    }
}
