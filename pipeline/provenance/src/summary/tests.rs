use super::*;
use tidegate_schemas::{CountedStatement, Exception};

fn verifier() -> Verifier {
    Verifier {
        cluster: "4d3c".to_owned(),
        namespace: "clinic".to_owned(),
        environment: "production".to_owned(),
    }
}

fn image() -> ImageRef {
    ImageRef { repository: "registry.example.com/odoo".to_owned(), digest: Digest::of(b"image") }
}

fn counted(type_: &str, digest: Digest) -> CountedStatement {
    CountedStatement { type_: type_.to_owned(), digest, signer: "release".to_owned() }
}

fn passed() -> Verdict {
    Verdict {
        passed: true,
        rules: Some(Digest::of(b"rules")),
        policies: vec!["images".to_owned()],
        signers: vec!["release".to_owned()],
        statements: vec![counted("https://sigstore.dev/cosign/sign/v1", Digest::of(b"signature"))],
        ..Verdict::default()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn read(verdict: &Verdict, previous: Option<Digest>) -> Value {
    let (verifier, image) = (verifier(), image());
    let summary = Summary {
        verifier: &verifier,
        pipeline: "clinic",
        image: &image,
        verdict,
        at: at("2026-11-25T12:00:00Z"),
        previous,
    };
    serde_json::from_slice(summary.statement().unwrap().json()).unwrap()
}

#[test]
fn a_summary_says_what_was_verified_where_and_by_what() {
    let until = at("2026-12-01T00:00:00Z");
    let previous = Digest::of(b"staging");
    let statement = read(&Verdict { until: Some(until), ..passed() }, Some(previous));
    let uri = |digest: Digest| format!("oci://registry.example.com/odoo@{digest}");
    let signature = Digest::of(b"signature");
    assert_eq!(
        statement,
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{
                "name": "registry.example.com/odoo",
                "digest": { "sha256": Digest::of(b"image").hex() },
            }],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": {
                "verifier": {
                    "id": "https://tidegate.dev/verifiers/4d3c/clinic/production",
                    "version": { "tidegate": env!("CARGO_PKG_VERSION") },
                },
                "timeVerified": "2026-11-25T12:00:00Z",
                "resourceUri": "oci://registry.example.com/odoo?environment=production",
                "policy": {
                    "uri": "https://tidegate.dev/trustpolicies/images",
                    "digest": { "sha256": Digest::of(b"rules").hex() },
                },
                "inputAttestations": [
                    { "uri": uri(signature), "digest": { "sha256": signature.hex() } },
                    { "uri": uri(previous), "digest": { "sha256": previous.hex() } },
                ],
                "verificationResult": "PASSED",
                "verifiedLevels": ["SLSA_BUILD_LEVEL_0"],
                "slsaVersion": "1.1",
                "https://tidegate.dev/verification_summary/v1": {
                    "cluster": "4d3c",
                    "namespace": "clinic",
                    "pipeline": "clinic",
                    "environment": "production",
                    "signers": ["release"],
                    "expires": "2026-12-01T00:00:00Z",
                    "previous": previous.to_string(),
                },
            },
        })
    );
}

#[test]
fn a_refusal_is_summed_up_with_its_reasons() {
    let reasons = vec!["the digest is revoked".to_owned(); 30];
    let failed = Verdict { passed: false, reasons, ..passed() };
    let predicate = &read(&failed, None)["predicate"];
    assert_eq!(predicate["verificationResult"], "FAILED");
    assert_eq!(predicate["verifiedLevels"], json!(["FAILED"]));
    let told = predicate[EXTENSION]["reasons"].as_array().unwrap();
    assert_eq!((told.len(), told[0].as_str()), (20, Some("the digest is revoked")));
}

#[test]
fn no_level_is_claimed_that_no_statement_proved() {
    let provenance = |type_: &str| {
        let mut verdict = passed();
        verdict.statements.push(counted(type_, Digest::of(b"provenance")));
        verdict
    };
    let cases = [
        (passed(), "SLSA_BUILD_LEVEL_0"),
        (provenance("https://spdx.dev/Document"), "SLSA_BUILD_LEVEL_0"),
        (provenance("https://slsa.dev/provenance/v0.2"), "SLSA_BUILD_LEVEL_1"),
        (provenance("https://slsa.dev/provenance/v1"), "SLSA_BUILD_LEVEL_1"),
        (Verdict { passed: false, ..provenance("https://slsa.dev/provenance/v1") }, "FAILED"),
    ];
    for (verdict, level) in cases {
        assert_eq!(read(&verdict, None)["predicate"]["verifiedLevels"], json!([level]));
    }
}

#[test]
fn an_exception_is_named_with_both_people() {
    let exception = Exception {
        policy: "databases".to_owned(),
        owner: "alice".to_owned(),
        approved_by: "bob".to_owned(),
        reason: "no signed image yet".to_owned(),
        expires: at("2026-12-31T00:00:00Z"),
    };
    let statement = read(&Verdict { exception: Some(exception), ..passed() }, None);
    let told = &statement["predicate"][EXTENSION]["exception"];
    assert_eq!((told["owner"].as_str(), told["approvedBy"].as_str()), (Some("alice"), Some("bob")));
}

#[test]
fn other_findings_have_another_name_and_the_same_ones_the_same() {
    let (verifier, image) = (verifier(), image());
    let name = |verdict: &Verdict, time: &str, previous| {
        Summary {
            verifier: &verifier,
            pipeline: "clinic",
            image: &image,
            verdict,
            at: at(time),
            previous,
        }
        .name()
    };
    let (first, later) = ("2026-11-25T12:00:00Z", "2026-11-26T12:00:00Z");
    let known = name(&passed(), first, None);
    assert_eq!(name(&passed(), later, Some(Digest::of(b"staging"))), known);
    let rubbish = Verdict { reasons: vec!["rubbish is attached".to_owned()], ..passed() };
    assert_eq!(name(&rubbish, first, None), known);
    let others = [
        Verdict { passed: false, ..passed() },
        Verdict { rules: Some(Digest::of(b"other rules")), ..passed() },
        Verdict { until: Some(at("2026-12-01T00:00:00Z")), ..passed() },
    ];
    for other in others {
        assert_ne!(name(&other, first, None), known);
    }
}

#[test]
fn a_bundle_tells_its_image_outcome_and_time() {
    let (verifier, image) = (verifier(), image());
    let verdict = passed();
    let time = at("2026-11-25T12:00:00Z");
    let summary = Summary {
        verifier: &verifier,
        pipeline: "clinic",
        image: &image,
        verdict: &verdict,
        at: time,
        previous: None,
    };
    let statement = summary.statement().unwrap();
    let bundle = statement.bundle(b"signature", b"key").unwrap();
    let signature = b"signature".to_vec();
    let told =
        Told { image, passed: true, at: time, signed_bytes: statement.signed_bytes(), signature };
    assert_eq!(Told::read(&bundle), Some(told));
    assert_eq!(Told::read(&Statement(b"{}".to_vec()).bundle(b"s", b"k").unwrap()), None);
    assert_eq!(Told::read(b"rubbish"), None);
}

#[test]
fn a_bundle_reads_back_as_a_sigstore_bundle_with_the_keys_hint() {
    let statement = Statement(b"{}".to_vec());
    assert_eq!(statement.signed_bytes(), b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
    let bundle = statement.bundle(b"signature", b"key").unwrap();
    let read = sigstore_verify::types::Bundle::from_json(std::str::from_utf8(&bundle).unwrap());
    let json: Value = serde_json::from_slice(&bundle).unwrap();
    assert!(read.is_ok(), "{read:?}");
    let hint = STANDARD.encode(Digest::of(b"key").bytes());
    assert_eq!(json["verificationMaterial"]["publicKey"]["hint"], json!(hint));
}
