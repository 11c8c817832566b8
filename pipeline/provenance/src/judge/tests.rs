//! Bundles are made as cosign 3.1 makes them (`cmd/cosign/cli/sign/sign.go`, `signDigestBundle`):
//! a DSSE envelope around an in-toto statement, a key hint, no log entry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore_verify::crypto::KeyPair;
use sigstore_verify::types::pae;
use tidegate_ids::Digest;
use tidegate_schemas::Log;

use crate::bundle::SIGN_PREDICATE;
use crate::*;

const ODOO: &str = "registry.example.com/hospital/odoo";

fn image() -> ImageRef {
    ImageRef { repository: ODOO.to_owned(), digest: Digest::of(b"odoo 17.0.3") }
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

fn authority(name: &str, key: &KeyPair) -> Authority {
    let pem = key.public_key_der().unwrap().to_pem();
    Authority::key(name, &pem, Log::None, None, None).unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate_ecdsa_p256().unwrap()
}

fn rule(policy: &str, images: &str, any_of: &[Authority]) -> TrustRule {
    let require = vec![Requirement { any_of: any_of.to_vec() }];
    TrustRule::new(policy, vec![images.parse().unwrap()], require).unwrap()
}

fn statement(digest: Digest, predicate_type: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": predicate_type,
        "predicate": {},
    })
}

fn envelope(payload: &[u8], signature: &[u8], hint: &[u8]) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(hint)}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    })
}

fn bundle(key: &KeyPair, statement: &Value) -> Vec<u8> {
    let payload = statement.to_string().into_bytes();
    let signature = key.sign(&pae("application/vnd.in-toto+json", &payload)).unwrap();
    let hint = Digest::of(key.public_key_der().unwrap().as_bytes());
    envelope(&payload, signature.as_bytes(), hint.bytes()).to_string().into_bytes()
}

fn signature(key: &KeyPair, digest: Digest) -> Vec<u8> {
    bundle(key, &statement(digest, SIGN_PREDICATE))
}

fn reasons(verdict: &Verdict) -> String {
    verdict.record().reasons.join("\n")
}

#[test]
fn a_signature_by_the_named_key_over_this_digest_passes() {
    let release = key();
    let trusted = authority("release-key", &release);
    let rules = [rule(
        "hospital-images",
        "registry.example.com/hospital/*",
        std::slice::from_ref(&trusted),
    )];
    let verdict = verify(&image(), &[signature(&release, image().digest)], &rules, now());
    let verified = verdict.passed().unwrap();
    assert_eq!((verified.repository(), verified.digest()), (ODOO, image().digest));
    assert_eq!(verified.policies(), ["hospital-images"]);
    assert_eq!(verified.verified_at(), now());
    let signer = Signer {
        name: "release-key".to_owned(),
        fingerprint: trusted.fingerprint(),
        identity: None,
    };
    assert_eq!(verified.signers(), [signer]);
}

#[test]
fn an_ed25519_key_signs_too() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::generate().unwrap();
    // RFC 8410: the SubjectPublicKeyInfo of an Ed25519 key is this prefix and the 32 bytes.
    let mut spki = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
    spki.extend(pair.public_key().as_ref());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(spki)
    );
    let payload = statement(image().digest, SIGN_PREDICATE).to_string().into_bytes();
    let made = pair.sign(&pae("application/vnd.in-toto+json", &payload));
    let bundle = envelope(&payload, made.as_ref(), b"").to_string().into_bytes();
    let rules = [rule("p", ODOO, &[Authority::key("ed", &pem, Log::None, None, None).unwrap()])];
    assert!(verify(&image(), &[bundle], &rules, now()).passed().is_some());
}

#[test]
fn an_image_that_no_policy_names_does_not_run() {
    let release = key();
    let rules = [rule("other", "registry.example.com/other/*", &[authority("k", &release)])];
    let verdict = verify(&image(), &[signature(&release, image().digest)], &rules, now());
    assert!(reasons(&verdict).starts_with("no TrustPolicy names this image"), "{verdict:?}");
}

#[test]
fn an_unsigned_image_is_refused_naming_the_policy_and_its_key() {
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &key())])];
    let verdict = verify(&image(), &[], &rules, now());
    assert_eq!(
        reasons(&verdict),
        format!(
            "no signature: no Sigstore bundle is attached to {}; sign it with the key that \
             TrustPolicy hospital-images names (release-key)",
            image()
        )
    );
}

#[test]
fn a_signature_by_another_key_is_refused_with_its_fingerprint() {
    let stranger = key();
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &key())])];
    let verdict = verify(&image(), &[signature(&stranger, image().digest)], &rules, now());
    let fingerprint = authority("stranger", &stranger).fingerprint().to_string();
    let said = reasons(&verdict);
    assert!(said.contains("signed by another key") && said.contains(&fingerprint), "{said}");
}

#[test]
fn known_break_in_signature_for_another_digest_accepted() {
    let release = key();
    let other = Digest::of(b"odoo 17.0.2");
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &release)])];
    let verdict = verify(&image(), &[signature(&release, other)], &rules, now());
    let expected = format!("is for {other}, not for this image's {}", image().digest);
    assert!(reasons(&verdict).contains(&expected), "{verdict:?}");
}

#[test]
fn known_break_in_any_attestation_taken_as_a_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &release)])];
    let sbom = bundle(&release, &statement(image().digest, "https://spdx.dev/Document"));
    let said = reasons(&verify(&image(), &[sbom], &rules, now()));
    assert!(said.contains("no signature: none of 1 bundles"), "{said}");
    assert!(said.contains("https://spdx.dev/Document is attached, which is not a signature"));
}

#[test]
fn known_break_in_unknown_predicate_treated_as_success() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &release)])];
    for predicate in ["", "https://sigstore.dev/cosign/sign/v2", "unknown"] {
        let unknown = bundle(&release, &statement(image().digest, predicate));
        assert!(verify(&image(), &[unknown], &rules, now()).passed().is_none(), "{predicate}");
    }
}

#[test]
fn known_break_in_unanchored_pattern() {
    let cases = [
        ("registry.example.com/acme/*", "registry.example.com/acme/odoo", true),
        ("registry.example.com/acme/*", "registry.example.com/acme/a/b", true),
        ("registry.example.com/acme/*", "registry.example.com/acme", false),
        ("registry.example.com/acme/*", "registry.example.com/acme/", false),
        ("registry.example.com/acme/*", "registry.example.com/acme-evil/odoo", false),
        ("registry.example.com/acme/*", "evil/registry.example.com/acme/odoo", false),
        ("registry.example.com/acme/odoo", "registry.example.com/acme/odoo", true),
        ("registry.example.com/acme/odoo", "registry.example.com/acme/odoo-evil", false),
        ("registry.example.com/acme/odoo", "registry-example.com/acme/odoo", false),
        ("registry.example.com/*", "registry.example.com.evil.org/odoo", false),
    ];
    for (pattern, name, matches) in cases {
        let pattern: ImagePattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(name), matches, "{pattern} and {name}");
    }
    for pattern in ["*", "", "a*", "a/*/b", "*/a", "a//b", "/*", "A/b", "a/b?", "a/.*/**"] {
        assert!(pattern.parse::<ImagePattern>().is_err(), "{pattern} was accepted");
    }
}

#[test]
fn known_break_in_key_rotated_but_old_still_counted() {
    let (old, new) = (key(), key());
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &new)])];
    let verdict = verify(&image(), &[signature(&old, image().digest)], &rules, now());
    assert!(verdict.passed().is_none());
    let before = policy_digest(&[rule("hospital-images", ODOO, &[authority("release-key", &old)])]);
    assert_ne!(policy_digest(&rules).unwrap(), before.unwrap());
}

#[test]
fn known_break_in_the_hint_taken_as_the_key() {
    let (release, stranger) = (key(), key());
    let trusted = authority("release-key", &release);
    let payload = statement(image().digest, SIGN_PREDICATE).to_string().into_bytes();
    let made = stranger.sign(&pae("application/vnd.in-toto+json", &payload)).unwrap();
    let lying = envelope(&payload, made.as_bytes(), trusted.fingerprint().bytes());
    let rules = [rule("hospital-images", ODOO, &[trusted])];
    let verdict = verify(&image(), &[lying.to_string().into_bytes()], &rules, now());
    assert!(reasons(&verdict).contains("signed by another key"), "{verdict:?}");
}

#[test]
fn a_changed_statement_loses_its_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &release)])];
    let mut json: Value =
        serde_json::from_slice(&signature(&release, Digest::of(b"another"))).unwrap();
    let payload = statement(image().digest, SIGN_PREDICATE).to_string();
    json["dsseEnvelope"]["payload"] = STANDARD.encode(payload).into();
    let verdict = verify(&image(), &[json.to_string().into_bytes()], &rules, now());
    assert!(verdict.passed().is_none());
}

#[test]
fn rubbish_is_a_reason_and_does_not_hide_a_valid_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[authority("release-key", &release)])];
    let mut unsigned: Value = serde_json::from_slice(&signature(&release, image().digest)).unwrap();
    unsigned["dsseEnvelope"]["signatures"] = json!([]);
    let mut plain = unsigned.clone();
    plain.as_object_mut().unwrap().remove("dsseEnvelope");
    plain["messageSignature"] = json!({"signature": STANDARD.encode("x")});
    let mut certificate = unsigned.clone();
    certificate["dsseEnvelope"]["signatures"] = json!([{"sig": ""}]);
    certificate["verificationMaterial"] =
        json!({"certificate": {"rawBytes": STANDARD.encode("x")}, "tlogEntries": []});
    let cases = [
        (b"\xff\xfe".to_vec(), "cannot be read"),
        (b"{}".to_vec(), "cannot be read"),
        (b"[".repeat(10_000), "cannot be read"),
        (unsigned.to_string().into_bytes(), "exactly one signature"),
        (plain.to_string().into_bytes(), "signs plain bytes"),
        (certificate.to_string().into_bytes(), "signed with a certificate"),
    ];
    for (rubbish, expected) in cases {
        let said = reasons(&verify(&image(), std::slice::from_ref(&rubbish), &rules, now()));
        assert!(said.contains(expected), "{said}");
        let both = [rubbish, signature(&release, image().digest)];
        assert!(verify(&image(), &both, &rules, now()).passed().is_some(), "{expected}");
    }
}

#[test]
fn every_policy_that_names_the_image_must_be_satisfied() {
    let (release, security) = (key(), key());
    let rules = [
        rule("hospital-images", ODOO, &[authority("release-key", &release)]),
        rule("everything", "registry.example.com/*", &[authority("security-key", &security)]),
    ];
    let by_release = signature(&release, image().digest);
    let verdict = verify(&image(), std::slice::from_ref(&by_release), &rules, now());
    assert!(reasons(&verdict).contains("TrustPolicy everything"), "{verdict:?}");
    assert_eq!(verdict.record().policies, ["hospital-images", "everything"]);
    let both = [by_release, signature(&security, image().digest)];
    assert_eq!(verify(&image(), &both, &rules, now()).record().signers.len(), 2);
}

#[test]
fn any_one_authority_of_a_requirement_is_enough() {
    let second = key();
    let trusted = [authority("first", &key()), authority("second", &second)];
    let rules = [rule("hospital-images", ODOO, &trusted)];
    let verdict = verify(&image(), &[signature(&second, image().digest)], &rules, now());
    assert_eq!(verdict.record().signers, ["second"]);
}

#[test]
fn a_policy_without_demands_or_with_an_unreadable_key_is_no_rule() {
    let pattern = || vec![ODOO.parse().unwrap()];
    let some = || Requirement { any_of: vec![authority("k", &key())] };
    assert!(TrustRule::new("p", vec![], vec![some()]).is_err());
    assert!(TrustRule::new("p", pattern(), vec![]).is_err());
    assert!(TrustRule::new("p", pattern(), vec![Requirement { any_of: vec![] }]).is_err());
    assert!(Authority::key("k", "not PEM", Log::None, None, None).is_err());
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(Authority::key("k", private, Log::None, None, None).is_err());
}

#[test]
fn a_trust_policy_object_becomes_a_rule() {
    let release = key();
    let pem = release.public_key_der().unwrap().to_pem();
    let spec = |key: Value| {
        serde_json::from_value(json!({"images": [ODOO], "require": [{"anyOf": [{"key": key}]}]}))
    };
    let in_secret = spec(json!({"secret": "release-key", "log": "none"})).unwrap();
    let rule = TrustRule::from_policy("p", &in_secret, |name| {
        (name == "release-key").then(|| pem.clone())
    });
    let signed = [signature(&release, image().digest)];
    let verdict = verify(&image(), &signed, &[rule.unwrap()], now());
    assert_eq!(verdict.record().signers, ["release-key"]);
    assert!(matches!(TrustRule::from_policy("p", &in_secret, |_| None), Err(Error::Secret { .. })));
    let inline = spec(json!({"pem": pem, "log": "none"})).unwrap();
    let rule = TrustRule::from_policy("p", &inline, |_| None).unwrap();
    let verdict = verify(&image(), &signed, &[rule], now());
    assert!(verdict.record().signers[0].starts_with("key sha256:"), "{verdict:?}");
    let logged = spec(json!({"pem": pem})).unwrap();
    let rule = TrustRule::from_policy("p", &logged, |_| None).unwrap();
    let said = reasons(&verify(&image(), &signed, &[rule], now()));
    assert!(said.contains("names no trusted root"), "a log is asked for unless said: {said}");
}

#[test]
fn the_policy_digest_does_not_depend_on_order() {
    let (a, b) = (authority("a", &key()), authority("b", &key()));
    let one =
        [rule("p", "x/*", &[a.clone(), b.clone()]), rule("q", "y/*", std::slice::from_ref(&a))];
    let two = [rule("q", "y/*", std::slice::from_ref(&a)), rule("p", "x/*", &[b.clone(), a])];
    assert_eq!(policy_digest(&one), policy_digest(&two));
    assert_ne!(policy_digest(&one), policy_digest(&[rule("p", "x/*", &[b])]));
}

#[test]
fn control_characters_from_a_bundle_do_not_reach_the_terminal() {
    let release = key();
    let rules = [rule("p", ODOO, &[authority("k", &release)])];
    let evil = bundle(&release, &statement(image().digest, "\u{1b}[2Jall good\n"));
    let said = reasons(&verify(&image(), &[evil], &rules, now()));
    assert!(!said.contains('\u{1b}') && !said.contains("good\n"), "{said}");
}
