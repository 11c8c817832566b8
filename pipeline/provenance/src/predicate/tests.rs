//! Documents as builders, SBOM tools and scanners write them, shortened.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_ids::Digest;
use tidegate_schemas::{AttestationRequirement, BaseImages, Severity};

use super::{Accepted, AttestationRule, BaseRule};
use crate::proof::Proved;
use crate::{Error, ImageRef, Signer, Subject};

mod bases;
mod customs;
mod scans;

use bases::base;
use scans::scans;

const V02: &str = "https://slsa.dev/provenance/v0.2";
const V1: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const GITHUB: &str = "https://actions.github.io/buildtypes/workflow/v1";
const GENERATOR: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.0.0";
const HEX: &str = "8914eb54f968791faf6a8638949e480fef81e697984fba772b3976835194c6d4";

fn image() -> Digest {
    Digest::of(b"odoo")
}

fn subject() -> Subject {
    ImageRef { repository: "ghcr.io/hospital/odoo".to_owned(), digest: image() }.into()
}

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn proved(predicate_type: &str, predicate: Value) -> Proved {
    Proved {
        attached: Digest::of(b"bundle"),
        signer: Signer {
            name: "builder".to_owned(),
            fingerprint: Digest::of(b"key"),
            identity: None,
        },
        subjects: BTreeSet::from([image()]),
        predicate_type: predicate_type.to_owned(),
        predicate,
        logs: BTreeSet::new(),
        timestamps: BTreeSet::new(),
        times: vec![],
    }
}

fn rule(stated: Value) -> AttestationRule {
    let stated: AttestationRequirement = serde_json::from_value(stated).unwrap();
    AttestationRule::from_schema(&stated).unwrap()
}

fn broken(stated: Value) -> String {
    let stated: AttestationRequirement = serde_json::from_value(stated).unwrap();
    AttestationRule::from_schema(&stated).unwrap_err().to_string()
}

fn judged(stated: Value, of: &str, predicate: Value) -> Result<Accepted, Vec<String>> {
    rule(stated).judge(&proved(of, predicate), &subject(), now())
}

/// The reasons, one a line.
fn refused(stated: Value, of: &str, predicate: Value) -> String {
    judged(stated, of, predicate).unwrap_err().join("\n")
}

fn at(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

fn without(mut document: Value, parent: &str, key: &str) -> Value {
    document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    document
}

fn slsa(builder: &str) -> Value {
    json!({"slsa": {
        "builder": {"exact": builder},
        "source": {
            "repository": "https://github.com/hospital/odoo",
            "ref": {"exact": "refs/heads/main"},
        },
    }})
}

/// slsa-github-generator, container workflow.
fn generator() -> Value {
    json!({
        "builder": {"id": GENERATOR},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": {
            "configSource": {
                "uri": "git+https://github.com/hospital/odoo@refs/heads/main",
                "digest": {"sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"},
                "entryPoint": ".github/workflows/release.yml",
            },
            "parameters": {},
            "environment": {"github_actor": "jane"},
        },
        "metadata": {"completeness": {"parameters": true, "environment": false, "materials": false}},
        "materials": [{
            "uri": "git+https://github.com/hospital/odoo@refs/heads/main",
            "digest": {"sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"},
        }],
    })
}

/// GitHub's attest-build-provenance.
fn github() -> Value {
    json!({
        "buildDefinition": {
            "buildType": GITHUB,
            "externalParameters": {"workflow": {
                "ref": "refs/heads/main",
                "repository": "https://github.com/hospital/odoo",
                "path": ".github/workflows/release.yml",
            }},
            "internalParameters": {"github": {"event_name": "push", "repository_id": "1"}},
            "resolvedDependencies": [{
                "uri": "git+https://github.com/hospital/odoo@refs/heads/main",
                "digest": {"gitCommit": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"},
            }],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/hospital/odoo/.github/workflows/release.yml@refs/heads/main"},
            "metadata": {"invocationId": "https://github.com/hospital/odoo/actions/runs/1/attempts/1"},
        },
    })
}

/// `BuildKit`, mode=max, from a Git context.
fn buildkit() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
            "externalParameters": {
                "configSource": {
                    "uri": "https://github.com/hospital/odoo.git#refs/heads/main",
                    "digest": {"sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"},
                    "path": "Dockerfile",
                },
                "request": {"frontend": "dockerfile.v0", "args": {"build-arg:VERSION": "17"}, "locals": []},
            },
            "resolvedDependencies": [
                {"uri": "pkg:docker/ghcr.io/hospital/base@12?platform=linux%2Famd64", "digest": {"sha256": HEX}},
                {"uri": "https://github.com/hospital/odoo.git#refs/heads/main", "digest": {"sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"}},
            ],
        },
        "runDetails": {
            "builder": {"id": "https://builder.hospital.example/buildkit"},
            "metadata": {"buildkit_completeness": {"request": true, "resolvedDependencies": true}},
        },
    })
}

/// Tekton Chains, slsa/v2alpha4.
fn tekton() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://tekton.dev/chains/v2/slsa",
            "externalParameters": {"runSpec": {
                "pipelineRef": {"name": "build"},
                "params": [{"name": "git-repo", "value": "https://github.com/hospital/odoo"}],
            }},
            "resolvedDependencies": [
                {"name": "pipeline", "uri": "git+https://github.com/hospital/pipelines", "digest": {"sha1": "00"}},
                {"uri": "oci://gcr.io/tekton-releases/git-init", "digest": {"sha256": HEX}},
                {"name": "inputs/result", "uri": "git+https://github.com/hospital/odoo.git", "digest": {"sha1": "00"}},
            ],
        },
        "runDetails": {"builder": {"id": "https://tekton.hospital.example"}},
    })
}

const GITHUB_BUILDER: &str =
    "https://github.com/hospital/odoo/.github/workflows/release.yml@refs/heads/main";

fn buildkit_rule(parameters: &[&str]) -> Value {
    let mut stated = slsa("https://builder.hospital.example/buildkit");
    stated["slsa"]["parameters"] = json!(parameters);
    stated
}

#[test]
fn provenance_names_builder_and_source_where_its_format_has_them() {
    let listed = ["request.frontend", "request.args.build-arg:VERSION"];
    for (stated, of, predicate) in [
        (slsa(GENERATOR), V02, generator()),
        (slsa(GITHUB_BUILDER), V1, github()),
        (buildkit_rule(&listed), V1, buildkit()),
    ] {
        let accepted = judged(stated, of, predicate).unwrap();
        assert!(
            accepted.summary.ends_with(" from https://github.com/hospital/odoo@refs/heads/main"),
            "{}",
            accepted.summary
        );
        assert_eq!((accepted.until, accepted.scan), (None, None));
    }
    let gitlab = json!({
        "buildDefinition": {
            "buildType": "https://docs.gitlab.com/ci/pipeline_security/slsa/provenance_v1",
            "externalParameters": {"source": "https://gitlab.com/hospital/odoo", "entryPoint": "build"},
        },
        "runDetails": {"builder": {"id": "https://gitlab.com/hospital/odoo/-/runners/1"}},
    });
    let stated = json!({"slsa": {
        "builder": {"regex": r"https://gitlab\.com/hospital/odoo/-/runners/[0-9]+"},
        "source": {"repository": "https://gitlab.com/hospital/odoo"},
        "parameters": ["entryPoint"],
    }});
    judged(stated, V1, gitlab).unwrap();
    let mut stated = slsa("https://tekton.hospital.example");
    stated["slsa"]["parameters"] = json!(["runSpec"]);
    stated["slsa"]["source"].as_object_mut().unwrap().remove("ref");
    judged(stated, V1, tekton()).unwrap();
}

#[test]
fn provenance_of_something_else_is_refused_with_what_it_says() {
    let v02 = |document| refused(slsa(GENERATOR), V02, document);
    let v1 = |document| refused(slsa(GITHUB_BUILDER), V1, document);
    let config = "/invocation/configSource/uri";
    let workflow = "/buildDefinition/externalParameters/workflow";
    let other = json!("git+https://github.com/evil/odoo@refs/heads/main");
    let tekton_v02 = at(generator(), "/buildType", json!("tekton.dev/v1beta1/TaskRun"));
    let cases = [
        v02(at(generator(), "/builder/id", json!("https://evil.example/builder"))),
        v02(at(generator(), "/builder/id", json!(""))),
        v02(at(generator(), config, other.clone())),
        v02(at(generator(), config, json!("git+https://github.com/hospital/odoo@refs/heads/x"))),
        v02(at(generator(), config, json!("git+https://github.com/hospital/odoo"))),
        v02(at(generator(), "/materials/0/uri", other)),
        v02(without(generator(), "/invocation", "configSource")),
        v02(tekton_v02),
        v02(at(generator(), "/metadata/completeness/parameters", json!(false))),
        v02(at(generator(), "/invocation/parameters", json!({"event_inputs": {"debug": ""}}))),
        v02(json!("{}")),
        v02(json!([])),
        v1(at(
            github(),
            &format!("{workflow}/repository"),
            json!("https://github.com/hospital/odoo-fork"),
        )),
        v1(at(github(), &format!("{workflow}/ref"), json!("refs/pull/7/merge"))),
        v1(without(github(), workflow, "ref")),
        v1(without(github(), "/buildDefinition/externalParameters", "workflow")),
        v1(at(
            github(),
            "/buildDefinition/externalParameters",
            json!({"inputs": {"skip-tests": true}, "workflow": github().pointer(workflow)}),
        )),
        v1(generator()),
        refused(buildkit_rule(&["request.frontend"]), V1, buildkit()),
        refused(
            buildkit_rule(&["request"]),
            V1,
            at(buildkit(), "/runDetails/metadata/buildkit_completeness/request", json!(false)),
        ),
        refused(slsa("https://tekton.hospital.example"), V1, tekton()),
        refused(slsa(GENERATOR), SPDX, generator()),
        v02(at(generator(), "/builder/id", json!("\u{1b}[2Kok"))),
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
}

#[test]
fn a_builder_pattern_is_anchored_and_an_empty_builder_matches_none() {
    let stated = json!({"slsa": {"builder": {"regex": "https://builder[.]example/.*"}}});
    let by = |id: &str| json!({"builder": {"id": id}, "invocation": {}});
    assert!(judged(stated.clone(), V02, by("https://builder.example/1")).is_ok());
    for id in ["x-https://builder.example/1", "", "https://builderxexample/1"] {
        assert!(judged(stated.clone(), V02, by(id)).is_err(), "{id}");
    }
    let any = json!({"slsa": {"builder": {"regex": ".*"}}});
    assert!(broken(any).contains("matches the empty text"));
}

#[test]
fn a_source_that_nothing_can_match_breaks_the_policy() {
    let mut stated = slsa(GENERATOR);
    stated["slsa"]["source"]["repository"] = json!("https://github.com/hospital/odoo@refs/heads/x");
    assert_eq!(
        broken(stated),
        "reading slsa.source.repository: https://github.com/hospital/odoo@refs/heads/x: it names \
         a ref, which belongs into ref; state what the statement must say there"
    );
}

fn spdx() -> Value {
    json!({
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "packages": [
            {"SPDXID": "SPDXRef-image", "name": "ghcr.io/hospital/odoo", "primaryPackagePurpose": "CONTAINER",
             "versionInfo": image().to_string()},
            {"SPDXID": "SPDXRef-os", "name": "debian", "primaryPackagePurpose": "OPERATING-SYSTEM"},
            {"SPDXID": "SPDXRef-1", "name": "openssl", "versionInfo": "3.0.11-1",
             "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                               "referenceLocator": "pkg:deb/debian/openssl@3.0.11-1?epoch=1"}]},
            {"SPDXID": "SPDXRef-2", "name": "vendored", "versionInfo": "NOASSERTION"},
        ],
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": "SPDXRef-image"}],
    })
}

fn cyclonedx() -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": {"component": {"type": "container", "name": "odoo", "version": image().to_string()}},
        "components": [
            {"type": "operating-system", "name": "debian", "version": "12"},
            {"type": "application", "name": "requirements.txt"},
            {"type": "library", "name": "lxml", "version": "5.1.0", "purl": "pkg:pypi/lxml@5.1.0",
             "components": [{"type": "library", "name": "libxml2"}]},
        ],
    })
}

#[test]
fn an_sbom_has_its_packages_whichever_way_it_is_wrapped() {
    let text = spdx().to_string();
    for (of, document) in [
        (SPDX, spdx()),
        ("https://spdx.dev/Document/v2.3", spdx()),
        (SPDX, json!(text)),
        (SPDX, json!({"Data": text, "Timestamp": "2026-11-25T10:00:00Z"})),
        (SPDX, json!({"Data": spdx(), "Timestamp": ""})),
        (CYCLONEDX, cyclonedx()),
        ("https://cyclonedx.org/bom/v1.5", cyclonedx()),
    ] {
        let stated = json!({"sbom": {"minPackages": 2, "minIdentified": 50}});
        let accepted = judged(stated, of, document.clone()).unwrap();
        assert!(accepted.summary.ends_with("names 2 packages, 1 identified"), "{of} {document}");
    }
    let found = crate::inventory(SPDX, &spdx()).unwrap();
    let openssl = found.packages.iter().find(|one| one.name == "openssl").unwrap();
    assert_eq!(openssl.version.as_deref(), Some("1:3.0.11-1"));
    assert_eq!(crate::inventory(VULN, &spdx()), None);
}

#[test]
fn an_sbom_that_says_too_little_or_of_another_image_is_refused() {
    let stated = |packages: u32, percent: u32| json!({"sbom": {"minPackages": packages, "minIdentified": percent, "formats": ["SPDX"]}});
    let cases = [
        refused(stated(3, 0), SPDX, spdx()),
        refused(stated(1, 51), SPDX, spdx()),
        refused(stated(1, 0), SPDX, at(spdx(), "/packages", json!([]))),
        refused(
            stated(1, 0),
            SPDX,
            at(spdx(), "/packages/0/versionInfo", json!(format!("sha256:{HEX}"))),
        ),
        refused(stated(1, 0), SPDX, at(spdx(), "/spdxVersion", json!("SPDX-3.0"))),
        refused(stated(1, 0), SPDX, json!({"Data": "SPDXVersion: SPDX-2.3"})),
        refused(stated(1, 0), SPDX, cyclonedx()),
        refused(stated(1, 0), SPDX, at(spdx(), "/packages", json!("many"))),
        refused(stated(1, 0), CYCLONEDX, cyclonedx()),
        refused(json!({"sbom": {}}), CYCLONEDX, at(cyclonedx(), "/specVersion", json!("1.3"))),
        refused(
            json!({"sbom": {}}),
            CYCLONEDX,
            at(cyclonedx(), "/metadata/component/version", json!(format!("sha256:{HEX}"))),
        ),
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
}

#[test]
fn the_order_of_lists_does_not_change_the_policy_digest() {
    let canonical = |stated: Value| rule(stated).canonical().clone();
    let mut other = buildkit_rule(&["b", "a"]);
    assert_eq!(canonical(buildkit_rule(&["a", "b"])), canonical(other.clone()));
    other["slsa"]["builder"] = json!({"exact": "https://other.example"});
    assert_ne!(canonical(buildkit_rule(&["a", "b"])), canonical(other));
    assert_ne!(canonical(scans("Low")), canonical(scans("High")));
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = "(SchemaVersion|Results|matches|runs|scanner|result|metadata|Data|packages|name|components|buildDefinition|externalParameters|source|uri|materials|digest|sha256|id|builder|bomFormat|[a-z]{0,3})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(SPDX-2.3|CycloneDX|1\\.5|git\\+https://a/b@c|pkg:docker/a@1|.{0,12})"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_statement_holds_it_is_judged_and_satisfies_nothing_by_chance(value in any_json()) {
        for (stated, of) in [(slsa(GENERATOR), V02), (slsa(GENERATOR), V1), (scans("None"), VULN)] {
            prop_assert!(judged(stated, of, value.clone()).is_err());
        }
        for of in [SPDX, CYCLONEDX] {
            let _ = judged(json!({"sbom": {}}), of, value.clone());
        }
        let one = proved(V1, value);
        let approved = base(json!({"approved": [{"image": "x.example/y"}]}));
        prop_assert!(approved.judge(&[&one], &subject()).is_err());
    }

    #[test]
    fn bytes_that_are_no_statement_are_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(crate::statement_of(&bytes).is_none());
    }
}
