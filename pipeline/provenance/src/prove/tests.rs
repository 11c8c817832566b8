//! Who made it, proved: against a private instance made for each test, which also gives out what
//! no honest one would.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sigstore_verify::crypto::KeyPair;
use tidegate_ids::Digest;
use tidegate_schemas::{KeylessAuthority, Log, SourceMatch, TextMatch};

use crate::bundle::{Evidence, SIGN_PREDICATE};
use crate::instance::{Identity, Instance, Statement, base64, pem};
use crate::proof::Proved;
use crate::{Attached, Authority, Error, Roots};

const ISSUER: &str = "https://accounts.example.com";
const ANNA: Identity<'_> =
    Identity { issuer: ISSUER, subject: "anna@hospital.example", claims: &[] };

fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minutes)
}

fn now() -> Timestamp {
    at(60)
}

fn image() -> Digest {
    Digest::of(b"odoo 17.0.3")
}

fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image().hex()}}],
        "predicateType": SIGN_PREDICATE,
        "predicate": {},
    })
}

fn key() -> KeyPair {
    KeyPair::generate_ecdsa_p256().unwrap()
}

fn holder(key: &KeyPair, log: Log) -> Authority {
    windowed(key, log, None, None).unwrap()
}

fn windowed(
    key: &KeyPair,
    log: Log,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Authority, Error> {
    Authority::key("release-key", &key.public_key_der().unwrap().to_pem(), log, from, until)
}

fn exact(text: &str) -> TextMatch {
    TextMatch { exact: Some(text.to_owned()), regex: None }
}

fn anna() -> KeylessAuthority {
    KeylessAuthority {
        issuer: ISSUER.to_owned(),
        subject: exact("anna@hospital.example"),
        source: None,
        workflow: None,
        trigger: None,
        runner: None,
    }
}

/// What is proved of one attached thing, or the sentence why nothing is.
fn proof(attached: Attached, by: &Authority, roots: &Roots) -> Result<Proved, String> {
    proof_at(attached, by, roots, now())
}

fn proof_at(
    attached: Attached,
    by: &Authority,
    roots: &Roots,
    now: Timestamp,
) -> Result<Proved, String> {
    let mut proofs = Evidence::read(&[attached]).by(by, roots, now);
    proofs.proved.pop().ok_or_else(|| proofs.shortcomings.remove(0).to_string())
}

fn refused(outcome: Result<Proved, String>, because: &str) {
    let said = outcome.expect_err("it was taken as proof");
    assert!(said.contains(because), "{said}");
}

#[test]
fn a_logged_signature_by_the_key_is_proved_with_log_and_time() {
    let (instance, key) = (Instance::new(1, 0), key());
    let bundle = instance.log(0, Statement::by_key(&key, &statement()), at(0)).attached();
    let proved = proof(bundle, &holder(&key, Log::Required), &instance.roots("lab")).unwrap();
    assert_eq!(proved.predicate_type, SIGN_PREDICATE);
    assert_eq!(proved.subjects.into_iter().collect::<Vec<_>>(), [image()]);
    assert_eq!(proved.logs.into_iter().collect::<Vec<_>>(), [instance.log_id(0)]);
    assert_eq!(proved.times, [at(0)]);
    assert_eq!(proved.signer.fingerprint, holder(&key, Log::None).fingerprint());
}

#[test]
fn a_key_whose_log_is_required_needs_an_entry_and_a_root() {
    let (instance, key) = (Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let bare = || Statement::by_key(&key, &statement());
    let required = holder(&key, Log::Required);
    refused(proof(bare().attached(), &required, &roots), "brings no transparency log entry");
    let stamped = instance.stamp(0, bare(), at(0)).attached();
    refused(proof(stamped, &required, &roots), "brings no transparency log entry");
    let logged = || instance.log(0, bare(), at(0)).attached();
    refused(proof(logged(), &required, &Roots::default()), "names no trusted root");
    let without = proof(logged(), &holder(&key, Log::None), &Roots::default()).unwrap();
    assert!(without.logs.is_empty() && without.times.is_empty(), "what nobody checked counts");
}

#[test]
fn known_break_in_log_entry_not_bound_to_the_signature() {
    let (instance, key, other) = (Instance::new(1, 0), key(), self::key());
    let roots = instance.roots("lab");
    let entry = |key: &KeyPair, about: &Value| {
        let logged = instance.log(0, Statement::by_key(key, about), at(0)).json();
        logged["verificationMaterial"]["tlogEntries"][0].clone()
    };
    let mut about_another = statement();
    about_another["subject"][0]["digest"]["sha256"] = Digest::of(b"another").hex().into();
    // Each is a real entry of this log, of another statement, another key, or another signature.
    let entries =
        [entry(&key, &about_another), entry(&other, &statement()), entry(&key, &statement())];
    for entry in entries {
        for log in [Log::Required, Log::None] {
            let mut bundle = Statement::by_key(&key, &statement()).json();
            bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
            let bundle = Attached::bundle(bundle.to_string().into_bytes());
            refused(proof(bundle, &holder(&key, log), &roots), "does not match the bundle");
        }
    }
}

#[test]
fn what_a_signer_brings_must_be_right_even_where_no_log_is_asked_for() {
    let (instance, foreign, key) = (Instance::new(1, 1), Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let lenient = holder(&key, Log::None);
    let bare = || Statement::by_key(&key, &statement());
    proof(bare().attached(), &lenient, &roots).unwrap();
    let elsewhere = foreign.log(0, bare(), at(0)).attached();
    refused(proof(elsewhere, &lenient, &roots), "does not prove");
    let stamped_elsewhere = foreign.stamp(0, bare(), at(0)).attached();
    refused(proof(stamped_elsewhere, &lenient, &roots), "does not prove");
    let mut borrowed = instance.stamp(0, bare(), at(0)).json();
    let data = &mut borrowed["verificationMaterial"]["timestampVerificationData"];
    data["rfc3161Timestamps"][0]["signedTimestamp"] =
        base64(&instance.token(0, b"another signature", at(0))).into();
    let borrowed = Attached::bundle(borrowed.to_string().into_bytes());
    refused(proof(borrowed, &lenient, &roots), "does not prove");
    let stamped = proof(instance.stamp(0, bare(), at(0)).attached(), &lenient, &roots).unwrap();
    assert_eq!((stamped.timestamps.len(), stamped.times), (1, vec![at(0)]));
}

#[test]
fn an_entry_with_neither_proof_nor_promise_hides_behind_no_other() {
    let (instance, key) = (Instance::new(2, 0), key());
    let one = instance.log(0, Statement::by_key(&key, &statement()), at(0));
    let mut both = instance.log(1, one, at(1)).json();
    let roots = instance.roots("lab");
    let required = holder(&key, Log::Required);
    let attached = |bundle: &Value| Attached::bundle(bundle.to_string().into_bytes());
    assert_eq!(proof(attached(&both), &required, &roots).unwrap().logs.len(), 2);
    let entry = &mut both["verificationMaterial"]["tlogEntries"][1];
    entry.as_object_mut().unwrap().remove("inclusionPromise");
    assert_eq!(proof(attached(&both), &required, &roots).unwrap().logs.len(), 2);
    let entry = &mut both["verificationMaterial"]["tlogEntries"][1];
    entry.as_object_mut().unwrap().remove("inclusionProof");
    refused(proof(attached(&both), &required, &roots), "neither an inclusion proof nor a promise");
}

#[test]
fn one_log_or_authority_counts_once_however_often_it_witnesses() {
    let (instance, key) = (Instance::new(2, 2), key());
    let roots = instance.roots("lab");
    let required = holder(&key, Log::Required);
    let logged = instance.log(0, Statement::by_key(&key, &statement()), at(0));
    let again = instance.stamp(0, instance.log(0, logged, at(1)), at(0));
    let again = instance.stamp(0, again, at(2));
    let json = again.json();
    let attached = Attached::bundle(json.to_string().into_bytes());
    let proved = proof(attached, &required, &roots).unwrap();
    assert_eq!((proved.logs.len(), proved.timestamps.len()), (1, 1));
    assert_eq!(proved.times, [at(0), at(1), at(2)]);
    let logged = instance.log(0, Statement::by_key(&key, &statement()), at(0));
    let two = instance.stamp(1, instance.stamp(0, instance.log(1, logged, at(0)), at(0)), at(0));
    let proved = proof(two.attached(), &required, &roots).unwrap();
    assert_eq!((proved.logs.len(), proved.timestamps.len()), (2, 2));
}

/// The entry says that it is of another log than the one whose key signed its checkpoint.
#[test]
fn a_log_counts_by_its_signature_and_not_by_what_an_entry_says() {
    let (instance, key) = (Instance::new(2, 0), key());
    let mut bundle = instance.log(0, Statement::by_key(&key, &statement()), at(0)).json();
    let other = instance.log(1, Statement::by_key(&key, &statement()), at(0)).json();
    let id = other["verificationMaterial"]["tlogEntries"][0]["logId"].clone();
    let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
    entry["logId"] = id;
    entry.as_object_mut().unwrap().remove("inclusionPromise");
    let bundle = Attached::bundle(bundle.to_string().into_bytes());
    let proved = proof(bundle, &holder(&key, Log::Required), &instance.roots("lab")).unwrap();
    assert_eq!(proved.logs.into_iter().collect::<Vec<_>>(), [instance.log_id(0)]);
}

#[test]
fn a_bundle_verifies_wholly_under_one_root() {
    let (here, there) = (Instance::new(1, 1), Instance::new(1, 1));
    let both = here.roots("here").joined(there.roots("there"));
    let anna = Authority::keyless(&anna()).unwrap();
    let whole = |instance: &Instance| {
        instance.log(0, instance.keyless(&statement(), &ANNA, at(0)), at(1)).attached()
    };
    for instance in [&here, &there] {
        proof(whole(instance), &anna, &both).unwrap();
    }
    refused(proof(whole(&there), &anna, &here.roots("here")), "under here");
    let mixed = there.log(0, here.keyless(&statement(), &ANNA, at(0)), at(1)).attached();
    let outcome = proof(mixed, &anna, &both);
    refused(outcome.clone(), "under here");
    refused(outcome, "and under there");
}

#[test]
fn an_identity_is_proved_with_its_issuer_and_subject() {
    let instance = Instance::new(1, 1);
    let roots = instance.roots("lab");
    let signed = || instance.log(0, instance.keyless(&statement(), &ANNA, at(0)), at(1));
    let authority = Authority::keyless(&anna()).unwrap();
    let proved = proof(signed().attached(), &authority, &roots).unwrap();
    let identity = proved.signer.identity.clone().unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (ISSUER, ANNA.subject));
    let again = proof(signed().attached(), &authority, &roots).unwrap();
    assert_ne!(proved.signer.fingerprint, again.signer.fingerprint);
    assert_eq!(proved.signer.person(), again.signer.person(), "two certificates are one signer");
}

#[test]
fn known_break_in_expired_certificate_with_no_trusted_time() {
    let instance = Instance::new(1, 1);
    let roots = instance.roots("lab");
    let authority = Authority::keyless(&anna()).unwrap();
    let signed = || instance.keyless(&statement(), &ANNA, at(0));
    // Without any time the certificate is not taken at its word, even while it is valid.
    let untimed = |mut json: Value| {
        let entry = &mut json["verificationMaterial"]["tlogEntries"][0];
        let entry = entry.as_object_mut().unwrap();
        entry.remove("inclusionPromise");
        entry.remove("integratedTime");
        Attached::bundle(json.to_string().into_bytes())
    };
    let logged = instance.log(0, signed(), at(1)).json();
    refused(proof_at(untimed(logged), &authority, &roots, at(2)), "no verified timestamp");
    let stamped = instance.stamp(0, instance.log(0, signed(), at(1)), at(1)).json();
    proof(untimed(stamped), &authority, &roots).unwrap();
    // Logged, or stamped, after the certificate had expired.
    let late = instance.log(0, signed(), at(11)).attached();
    refused(proof(late, &authority, &roots), "CertExpired");
    let stamped_late = instance.stamp(0, instance.log(0, signed(), at(1)), at(11)).attached();
    refused(proof(stamped_late, &authority, &roots), "CertExpired");
    let only_stamped = instance.stamp(0, signed(), at(1)).attached();
    refused(proof(only_stamped, &authority, &roots), "does not prove");
}

#[test]
fn a_root_with_a_certificate_log_asks_for_its_timestamp() {
    let instance = Instance::new(1, 0);
    let signed = || instance.log(0, instance.keyless(&statement(), &ANNA, at(0)), at(1));
    let authority = Authority::keyless(&anna()).unwrap();
    proof(signed().attached(), &authority, &instance.roots("without")).unwrap();
    let mut json = instance.json();
    json["ctlogs"] = json["tlogs"].clone();
    let with = Roots::from_json("with", &json.to_string()).unwrap();
    refused(proof(signed().attached(), &authority, &with), "signed certificate timestamp");
}

#[test]
fn rekor_v2_proves_no_time_so_that_a_timestamp_authority_has_to() {
    let (instance, key) = (Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let authority = Authority::keyless(&anna()).unwrap();
    let signed = || instance.tile(0, instance.keyless(&statement(), &ANNA, at(0)));
    refused(proof(signed().attached(), &authority, &roots), "no verified timestamp");
    let stamped = instance.stamp(0, signed(), at(1)).attached();
    let proved = proof(stamped, &authority, &roots).unwrap();
    assert_eq!(proved.logs.into_iter().collect::<Vec<_>>(), [instance.log_id(0)]);
    assert_eq!((proved.timestamps.len(), proved.times), (1, vec![at(1)]));
    let late = instance.stamp(0, signed(), at(11)).attached();
    refused(proof(late, &authority, &roots), "CertExpired");
    // A key's entry needs none, and then nothing says that it was not made just now.
    let by_key = || instance.tile(0, Statement::by_key(&key, &statement())).attached();
    let until = |minutes| windowed(&key, Log::Required, None, Some(at(minutes))).unwrap();
    let proved = proof(by_key(), &until(70), &roots).unwrap();
    assert!(proved.logs.len() == 1 && proved.times.is_empty());
    refused(proof(by_key(), &until(50), &roots), "nothing proves that it was not signed just now");
    let entry = instance.tile(0, Statement::by_key(&key, &statement())).json();
    let mut unbound = Statement::by_key(&key, &statement()).json();
    unbound["verificationMaterial"]["tlogEntries"] =
        entry["verificationMaterial"]["tlogEntries"].clone();
    let unbound = Attached::bundle(unbound.to_string().into_bytes());
    refused(proof(unbound, &holder(&key, Log::None), &roots), "does not match the bundle");
}

#[test]
fn a_proof_from_the_future_is_none() {
    let instance = Instance::new(1, 1);
    let authority = Authority::keyless(&anna()).unwrap();
    let signed = instance.log(0, instance.keyless(&statement(), &ANNA, at(0)), at(1));
    let early = proof_at(signed.attached(), &authority, &instance.roots("lab"), at(-30));
    refused(early, "which is still to come");
}

#[test]
fn known_break_in_key_rotated_but_old_counted() {
    let (instance, key) = (Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let bare = || Statement::by_key(&key, &statement());
    let rotated = |log| windowed(&key, log, Some(at(10)), Some(at(20))).unwrap();
    let stamped = |minutes| instance.stamp(0, bare(), at(minutes)).attached();
    // By the time that is proved, where one is: whenever it is looked at.
    proof(stamped(15), &rotated(Log::None), &roots).unwrap();
    refused(proof(stamped(25), &rotated(Log::None), &roots), "was valid until");
    refused(proof(stamped(5), &rotated(Log::None), &roots), "is valid from");
    let logged = |minutes| instance.log(0, bare(), at(minutes)).attached();
    proof(logged(15), &rotated(Log::Required), &roots).unwrap();
    refused(proof(logged(25), &rotated(Log::Required), &roots), "was valid until");
    // One time outside is enough: a second stamp does not wash away the first.
    let twice = instance.stamp(0, instance.stamp(0, bare(), at(15)), at(25)).attached();
    refused(proof(twice, &rotated(Log::None), &roots), "was valid until");
    // By the clock, where nothing proves a time.
    let untimed = |now| proof_at(bare().attached(), &rotated(Log::None), &roots, now);
    untimed(at(15)).unwrap();
    refused(untimed(at(25)), "nothing proves that it was not signed just now");
    refused(untimed(at(5)), "is valid from");
    assert!(windowed(&key, Log::None, Some(at(1)), Some(at(1))).is_err());
}

#[test]
fn known_break_in_hint_as_key() {
    let (instance, key, stranger) = (Instance::new(1, 0), key(), self::key());
    let roots = instance.roots("lab");
    let hint = base64(holder(&key, Log::None).fingerprint().bytes());
    for log in [Log::Required, Log::None] {
        let mut lying = instance.log(0, Statement::by_key(&stranger, &statement()), at(0)).json();
        lying["verificationMaterial"]["publicKey"]["hint"] = hint.clone().into();
        let lying = Attached::bundle(lying.to_string().into_bytes());
        refused(proof(lying, &holder(&key, log), &roots), "is signed by another key");
        let mut silent = instance.log(0, Statement::by_key(&key, &statement()), at(0)).json();
        silent["verificationMaterial"]["publicKey"]["hint"] = "".into();
        let silent = Attached::bundle(silent.to_string().into_bytes());
        proof(silent, &holder(&key, log), &roots).unwrap();
    }
}

#[test]
fn a_key_and_an_identity_are_told_apart() {
    let (instance, key) = (Instance::new(1, 0), key());
    let roots = instance.roots("lab");
    let by_key = instance.log(0, Statement::by_key(&key, &statement()), at(0)).attached();
    let authority = Authority::keyless(&anna()).unwrap();
    refused(proof(by_key, &authority, &roots), "is signed with a key");
    let keyless = instance.log(0, instance.keyless(&statement(), &ANNA, at(0)), at(1)).attached();
    refused(proof(keyless, &holder(&key, Log::None), &roots), "is signed with a certificate");
}

mod identities;
mod keys;
mod layers;
