//! Bundles are made as cosign 3.1 makes them (`cmd/cosign/cli/sign/sign.go`, `signDigestBundle`):
//! a DSSE envelope around an in-toto statement, a key hint, no log entry.

mod attestations;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore_verify::crypto::KeyPair;
use sigstore_verify::types::pae;
use tidegate_ids::Digest;

use crate::bundle::SIGN_PREDICATE;
use crate::*;

const ODOO: &str = "registry.example.com/hospital/odoo";

fn image() -> ImageRef {
    ImageRef { repository: ODOO.to_owned(), digest: Digest::of(b"odoo 17.0.3") }
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

fn key() -> KeyPair {
    KeyPair::generate_ecdsa_p256().unwrap()
}

fn pem(key: &KeyPair) -> String {
    key.public_key_der().unwrap().to_pem()
}

fn fingerprint(key: &KeyPair) -> Digest {
    Digest::of(key.public_key_der().unwrap().as_bytes())
}

/// A policy that states this; the keys are in Secrets of these names.
fn stated(name: &str, spec: &Value, keys: &[(&str, &KeyPair)]) -> Result<TrustRule, Error> {
    let secrets = keys.iter().map(|(name, key)| ((*name).to_owned(), pem(key))).collect();
    let materials = Gathered { secrets, ..Gathered::default() };
    TrustRule::from_policy(name, &serde_json::from_value(spec.clone()).unwrap(), &materials)
}

/// A policy that one of these keys must have signed, without a log.
fn rule(policy: &str, images: &str, any_of: &[(&str, &KeyPair)]) -> TrustRule {
    let spec = json!({"images": [images], "require": [{"anyOf": by(any_of)}]});
    stated(policy, &spec, any_of).unwrap()
}

fn by(keys: &[(&str, &KeyPair)]) -> Value {
    keys.iter().map(|(name, _)| json!({"key": {"secret": name, "log": "none"}})).collect()
}

fn judge_all(attached: &[Attached], rules: &[TrustRule]) -> Verdict {
    verify(&image().into(), attached, &Rules::new(rules.to_vec()), now()).verdict
}

fn judge(bundles: &[Vec<u8>], rules: &[TrustRule]) -> Verdict {
    let attached: Vec<_> = bundles.iter().cloned().map(Attached::bundle).collect();
    judge_all(&attached, rules)
}

fn digest_of(rules: &[TrustRule]) -> Digest {
    Rules::new(rules.to_vec()).digest_for(&image()).unwrap()
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
    let rules =
        [rule("hospital-images", "registry.example.com/hospital/*", &[("release-key", &release)])];
    let verdict = judge(&[signature(&release, image().digest)], &rules);
    let verified = verdict.passed().unwrap();
    assert_eq!((verified.repository(), verified.digest()), (ODOO, image().digest));
    assert_eq!(verified.policies(), ["hospital-images"]);
    assert_eq!(verified.verified_at(), now());
    let signer = Signer {
        name: "release-key".to_owned(),
        fingerprint: fingerprint(&release),
        identity: None,
    };
    assert_eq!(verified.signers(), [signer]);
    let [counted] = verdict.record().statements.try_into().unwrap();
    assert_eq!((counted.type_.as_str(), counted.signer.as_str()), (SIGN_PREDICATE, "release-key"));
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
    let spec =
        json!({"images": [ODOO], "require": [{"anyOf": [{"key": {"pem": pem, "log": "none"}}]}]});
    assert!(judge(&[bundle], &[stated("p", &spec, &[]).unwrap()]).passed().is_some());
}

#[test]
fn an_image_that_no_policy_names_does_not_run() {
    let release = key();
    let rules = [rule("other", "registry.example.com/other/*", &[("k", &release)])];
    let verdict = judge(&[signature(&release, image().digest)], &rules);
    assert!(reasons(&verdict).starts_with("no TrustPolicy names this image"), "{verdict:?}");
}

#[test]
fn an_unsigned_image_is_refused_naming_the_policy_and_its_key() {
    let rules = [rule("hospital-images", ODOO, &[("release-key", &key())])];
    let verdict = judge(&[], &rules);
    assert_eq!(
        reasons(&verdict),
        format!(
            "no signature that counts: nothing is attached to {}; sign it as TrustPolicy \
             hospital-images asks, by release-key",
            image()
        )
    );
}

#[test]
fn a_signature_by_another_key_is_refused_with_its_fingerprint() {
    let stranger = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &key())])];
    let verdict = judge(&[signature(&stranger, image().digest)], &rules);
    let fingerprint = fingerprint(&stranger).to_string();
    let said = reasons(&verdict);
    assert!(said.contains("signed by another key") && said.contains(&fingerprint), "{said}");
}

#[test]
fn known_break_in_signature_for_another_digest_accepted() {
    let release = key();
    let other = Digest::of(b"odoo 17.0.2");
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    let verdict = judge(&[signature(&release, other)], &rules);
    let expected = format!("is about {other}, not about this image's {}", image().digest);
    assert!(reasons(&verdict).contains(&expected), "{verdict:?}");
}

#[test]
fn known_break_in_any_attestation_taken_as_a_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    let sbom = bundle(&release, &statement(image().digest, "https://spdx.dev/Document"));
    let said = reasons(&judge(&[sbom], &rules));
    assert!(said.contains("is none; sign it as TrustPolicy hospital-images asks"), "{said}");
    assert!(
        said.contains("an attestation of type https://spdx.dev/Document, which is not a signature")
    );
}

#[test]
fn known_break_in_unknown_predicate_treated_as_success() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    for predicate in ["", "https://sigstore.dev/cosign/sign/v2", "unknown"] {
        let unknown = bundle(&release, &statement(image().digest, predicate));
        assert!(judge(&[unknown], &rules).passed().is_none(), "{predicate}");
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
    let rules = [rule("hospital-images", ODOO, &[("release-key", &new)])];
    let verdict = judge(&[signature(&old, image().digest)], &rules);
    assert!(verdict.passed().is_none());
    let before = [rule("hospital-images", ODOO, &[("release-key", &old)])];
    assert_ne!(digest_of(&rules), digest_of(&before));
}

#[test]
fn known_break_in_the_hint_taken_as_the_key() {
    let (release, stranger) = (key(), key());
    let payload = statement(image().digest, SIGN_PREDICATE).to_string().into_bytes();
    let made = stranger.sign(&pae("application/vnd.in-toto+json", &payload)).unwrap();
    let lying = envelope(&payload, made.as_bytes(), fingerprint(&release).bytes());
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    let verdict = judge(&[lying.to_string().into_bytes()], &rules);
    assert!(verdict.passed().is_none(), "{verdict:?}");
}

#[test]
fn a_changed_statement_loses_its_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    let mut json: Value =
        serde_json::from_slice(&signature(&release, Digest::of(b"another"))).unwrap();
    let payload = statement(image().digest, SIGN_PREDICATE).to_string();
    json["dsseEnvelope"]["payload"] = STANDARD.encode(payload).into();
    let verdict = judge(&[json.to_string().into_bytes()], &rules);
    assert!(verdict.passed().is_none());
}

#[test]
fn rubbish_is_a_reason_and_does_not_hide_a_valid_signature() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
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
        let said = reasons(&judge(std::slice::from_ref(&rubbish), &rules));
        assert!(said.contains(expected), "{said}");
        let both = [rubbish, signature(&release, image().digest)];
        assert!(judge(&both, &rules).passed().is_some(), "{expected}");
    }
}

#[test]
fn every_policy_that_names_the_image_must_be_satisfied() {
    let (release, security) = (key(), key());
    let rules = [
        rule("hospital-images", ODOO, &[("release-key", &release)]),
        rule("everything", "registry.example.com/*", &[("security-key", &security)]),
    ];
    let by_release = signature(&release, image().digest);
    let verdict = judge(std::slice::from_ref(&by_release), &rules);
    assert!(reasons(&verdict).contains("TrustPolicy everything"), "{verdict:?}");
    assert_eq!(verdict.record().policies, ["everything", "hospital-images"]);
    let both = [by_release, signature(&security, image().digest)];
    assert_eq!(judge(&both, &rules).record().signers.len(), 2);
}

#[test]
fn any_one_authority_of_a_requirement_is_enough() {
    let (first, second) = (key(), key());
    let rules = [rule("hospital-images", ODOO, &[("first", &first), ("second", &second)])];
    let verdict = judge(&[signature(&second, image().digest)], &rules);
    assert_eq!(verdict.record().signers, ["second"]);
}

#[test]
fn a_policy_that_nothing_can_satisfy_is_no_rule() {
    let k = key();
    let one = by(&[("k", &k)]);
    for (spec, what) in [
        (json!({"images": [], "require": [{"anyOf": one}]}), "spec.images"),
        (json!({"images": [ODOO]}), "spec.require"),
        (json!({"images": [ODOO], "require": [{"anyOf": []}]}), "anyOf"),
        (json!({"images": [ODOO], "require": [{"anyOf": one, "count": 2}]}), "count"),
        (json!({"images": [ODOO], "require": [{"anyOf": one, "logs": 1}]}), "roots"),
        (json!({"images": [ODOO], "require": [{"anyOf": [{"key": {"secret": "k"}}]}]}), "roots"),
        (json!({"images": ["*"], "require": [{"anyOf": one}]}), "*"),
        (
            json!({"images": [ODOO], "require": [{"anyOf": [{"key": {"secret": "gone", "log": "none"}}]}]}),
            "gone",
        ),
        (
            json!({"images": [ODOO], "require": [{"anyOf": [{"key": {"pem": "no PEM", "log": "none"}}]}]}),
            "key",
        ),
        (
            json!({"images": [ODOO], "require": [{"anyOf": one}], "roots": [{"configMap": "gone"}]}),
            "gone",
        ),
    ] {
        let error = stated("p", &spec, &[("k", &k)]).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("accepted: {spec}"));
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn the_policy_digest_does_not_depend_on_order() {
    let (a, b) = (key(), key());
    let both = [("a", &a), ("b", &b)];
    let turned = [("b", &b), ("a", &a)];
    let one = [rule("p", ODOO, &both), rule("q", ODOO, &[("a", &a)])];
    let two = [rule("q", ODOO, &[("a", &a)]), rule("p", ODOO, &turned)];
    assert_eq!(digest_of(&one), digest_of(&two));
    assert_ne!(digest_of(&one), digest_of(&[rule("p", ODOO, &both)]));
    let elsewhere = rule("r", "registry.example.com/other/*", &[("b", &b)]);
    let with = [one[0].clone(), one[1].clone(), elsewhere];
    assert_eq!(digest_of(&one), digest_of(&with), "a policy about other images changes nothing");
}

#[test]
fn any_change_of_a_demand_changes_the_policy_digest() {
    let (a, b) = (key(), key());
    let keys = [("a", &a), ("b", &b)];
    let base = json!({"images": [ODOO], "require": [{"anyOf": by(&keys)}],
        "static": [], "revoked": []});
    let digest = |spec: &Value| digest_of(&[stated("p", spec, &keys).unwrap()]);
    let before = digest(&base);
    let exception = |digest: Digest| {
        json!([{"digest": digest, "owner": "ann", "approvedBy": "joe",
        "reason": "no vendor signs it", "expires": "2030-01-01T00:00:00Z"}])
    };
    for (pointer, value, changes) in [
        ("/require/0/count", json!(2), true),
        ("/require/0/anyOf/0/key/validUntil", json!("2030-01-01T00:00:00Z"), true),
        ("/require/0/anyOf", by(&[("a", &a)]), true),
        ("/static", exception(image().digest), true),
        ("/static", exception(Digest::of(b"another image")), false),
        ("/revoked", json!([{"digest": Digest::of(b"x"), "reason": "stolen"}]), true),
        ("/images", json!([ODOO, "registry.example.com/more"]), false),
    ] {
        let mut spec = base.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[field] = value;
        assert_eq!(digest(&spec) != before, changes, "{pointer}");
    }
}

#[test]
fn known_break_in_threshold_met_by_duplicates() {
    let (release, tester) = (key(), key());
    let two = |keys: &[(&str, &KeyPair)]| {
        let spec = json!({"images": [ODOO], "require": [{"anyOf": by(keys), "count": 2}]});
        stated("four-eyes", &spec, keys)
    };
    let twice = two(&[("release-key", &release), ("the-same", &release)]);
    assert!(twice.is_err(), "one key under two names can never be two");
    let rules = [two(&[("release-key", &release), ("tester", &tester)]).unwrap()];
    let (one, again) = (signature(&release, image().digest), signature(&release, image().digest));
    assert_ne!(one, again, "two signatures by one key");
    let said = reasons(&judge(&[one.clone(), again, one.clone()], &rules));
    assert!(said.starts_with("too few signatures: TrustPolicy four-eyes asks for 2 of"), "{said}");
    let verdict = judge(&[one, signature(&tester, image().digest)], &rules);
    let mut signers = verdict.record().signers;
    signers.sort();
    assert_eq!(signers, ["release-key", "tester"]);
}

#[test]
fn what_is_revoked_counts_under_no_policy() {
    let release = key();
    let signed = [signature(&release, image().digest)];
    let listed = json!({"images": [ODOO], "static": [{"digest": image().digest, "owner": "ann",
        "approvedBy": "joe", "reason": "no vendor signs it", "expires": "2030-01-01T00:00:00Z"}]});
    let asks = rule("hospital-images", ODOO, &[("release-key", &release)]);
    let lists = stated("third-party", &listed, &[]).unwrap();
    for rules in [vec![asks.clone()], vec![lists.clone()], vec![asks.clone(), lists]] {
        assert!(judge(&signed, &rules).passed().is_some());
        let revoked = json!({"images": ["registry.example.com/another"],
            "revoked": [{"digest": image().digest, "reason": "its build machine was taken over"}]});
        let mut rules = rules;
        rules.push(stated("revoked", &revoked, &[]).unwrap());
        let said = reasons(&judge(&signed, &rules));
        assert!(said.contains("revoked by TrustPolicy revoked: its build machine"), "{said}");
        let pardoned = Rules::new(rules).without_revocations().unwrap();
        let attached = signed.clone().map(Attached::bundle);
        let verdict = verify(&image().into(), &attached, &pardoned, now()).verdict;
        assert!(verdict.passed().is_some(), "nothing but the revocation is against it");
    }
    for since in [None, Some("1969-01-01T00:00:00Z")] {
        let mut one = json!({"key": fingerprint(&release), "reason": "lost"});
        if let Some(since) = since {
            one["since"] = since.into();
        }
        let revoked = json!({"images": [ODOO], "revoked": [one]});
        let rules = [asks.clone(), stated("revoked", &revoked, &[]).unwrap()];
        let said = reasons(&judge(&signed, &rules));
        assert!(said.contains("release-key, who is revoked by TrustPolicy revoked"), "{said}");
    }
}

#[test]
fn an_exception_lets_one_digest_run_until_it_ends() {
    let exception = |digest: Digest, expires: &str| {
        let spec = json!({"images": [ODOO], "static": [{"digest": digest, "owner": "ann",
            "approvedBy": "joe", "reason": "no vendor signs it", "expires": expires}]});
        stated("third-party", &spec, &[]).unwrap()
    };
    let record = judge(&[], &[exception(image().digest, "2030-01-01T00:00:00Z")]).record();
    let by = record.exception.unwrap();
    assert_eq!((by.owner.as_str(), by.approved_by.as_str()), ("ann", "joe"));
    assert_eq!(record.until, Some(by.expires), "it is judged again when the exception ends");
    let over = judge(&[], &[exception(image().digest, "1969-01-01T00:00:00Z")]);
    assert!(reasons(&over).contains("ended at 1969-01-01T00:00:00Z; ann"), "{over:?}");
    let other = judge(&[], &[exception(Digest::of(b"another"), "2030-01-01T00:00:00Z")]);
    assert!(reasons(&other).contains("is not listed"), "{other:?}");
}

#[test]
fn a_key_counts_within_its_window_and_the_verdict_ends_with_it() {
    let release = key();
    let keys = [("release-key", &release)];
    let window = |from: Option<&str>, until: Option<&str>| {
        let mut one = json!({"secret": "release-key", "log": "none"});
        one["validFrom"] = from.into();
        one["validUntil"] = until.into();
        let spec = json!({"images": [ODOO], "require": [{"anyOf": [{"key": one}]}]});
        let rules = [stated("p", &spec, &keys).unwrap()];
        judge(&[signature(&release, image().digest)], &rules).record()
    };
    let (before, after) = (Some("1969-01-01T00:00:00Z"), Some("1971-01-01T00:00:00Z"));
    let within = window(before, after);
    assert!(within.passed && within.until == Some(after.unwrap().parse().unwrap()));
    assert!(!window(None, before).passed);
    let early = window(after, None);
    assert_eq!((early.passed, early.until), (false, Some(after.unwrap().parse().unwrap())));
}

#[test]
fn what_could_not_be_read_is_told_where_a_demand_is_not_met() {
    let release = key();
    let rules = [rule("hospital-images", ODOO, &[("release-key", &release)])];
    let why = "its list has more than 64 entries".to_owned();
    let unreadable = Attached::Unreadable { digest: Digest::of(b"list"), why };
    let said = reasons(&judge_all(std::slice::from_ref(&unreadable), &rules));
    assert!(said.contains("more than 64 entries"), "{said}");
    let signed = Attached::bundle(signature(&release, image().digest));
    assert!(judge_all(&[unreadable, signed], &rules).passed().is_some());
}
#[test]
fn control_characters_from_a_bundle_do_not_reach_the_terminal() {
    let release = key();
    let rules = [rule("p", ODOO, &[("k", &release)])];
    let evil = bundle(&release, &statement(image().digest, "\u{1b}[2Jall good\n"));
    let said = reasons(&judge(&[evil], &rules));
    assert!(!said.contains('\u{1b}') && !said.contains("good\n"), "{said}");
}
