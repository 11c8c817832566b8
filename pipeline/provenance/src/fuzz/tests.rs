//! Replays what the fuzzer knows, and makes its seeds anew.
//!
//! `TIDEGATE_BLESS=1 cargo test -p tidegate-provenance fuzz` makes the root, the keys and the signed
//! seeds, all at once, by the private instance of the tests, and keeps no private key.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use jiff::SignedDuration;
use sigstore_verify::crypto::KeyPair;
use sigstore_verify::types::pae;

use super::*;
use crate::bundle::PAYLOAD_TYPE;
use crate::instance::{Identity, Instance, Statement, base64, pem};

const ANNA: Identity<'_> = Identity {
    issuer: "https://accounts.example.com",
    subject: "anna@hospital.example",
    claims: &[(9, "https://ci.example.com/release.yml@refs/heads/main")],
};

fn folder(target: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("tests/fuzz/corpus").join(target)
}

/// How many of a target's inputs are taken for something.
fn replay(target: &str, entry: impl Fn(&[u8]) -> usize) -> usize {
    let files = fs::read_dir(folder(target)).unwrap();
    files.filter(|file| entry(&fs::read(file.as_ref().unwrap().path()).unwrap()) > 0).count()
}

#[test]
fn what_the_fuzzer_knows_forges_nothing_and_is_told_in_fit_sentences() {
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        make_seeds();
        return;
    }
    // The seeds prove something, so that a changed reader does not leave the fuzzer outside.
    assert!(replay("bundle", bundle) >= 7);
    assert!(replay("payload", payload) >= 5);
    assert!(replay("statement", statement) >= 6);
    // Some pass a whole policy, so that refusing everything would be seen.
    let passes = |json: &[u8]| {
        let attached = [Attached::bundle(json.to_vec())];
        let outcome = verify(&subject(&Value::Null), &attached, &ASKED.one, now());
        usize::from(outcome.verdict.passed().is_some())
    };
    assert!(replay("bundle", passes) >= 3);
}

#[test]
fn nothing_at_all_proves_nothing() {
    for bytes in [b"".as_slice(), b"{}", b"e", b"s{}\0\0\0\0\0", b"[[[[", b"\xff"] {
        assert_eq!((bundle(bytes), payload(bytes), statement(bytes)), (0, 0, 0));
    }
}

/// Keys of the kinds that sign.
struct Keys {
    p256: KeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Keys {
    fn generate() -> Self {
        Self {
            p256: KeyPair::generate_ecdsa_p256().unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn spki(&self) -> [Vec<u8>; 3] {
        let p384: PublicKeyX509Der<'_> = self.p384.public_key().as_der().unwrap();
        let ed25519: PublicKeyX509Der<'_> = self.ed25519.public_key().as_der().unwrap();
        let p256 = self.p256.public_key_der().unwrap().as_bytes().to_vec();
        [p256, p384.as_ref().to_vec(), ed25519.as_ref().to_vec()]
    }

    fn by_p384(&self, statement: &Value) -> Statement {
        let random = SystemRandom::new();
        let sign = |bytes: &[u8]| self.p384.sign(&random, bytes).unwrap().as_ref().to_vec();
        Statement::signed(self.spki()[1].clone(), sign, statement)
    }

    fn by_ed25519(&self, statement: &Value) -> Statement {
        let sign = |bytes: &[u8]| self.ed25519.sign(bytes).as_ref().to_vec();
        Statement::signed(self.spki()[2].clone(), sign, statement)
    }
}

fn at(minutes: i64) -> Timestamp {
    now() + SignedDuration::from_mins(minutes - 60)
}

fn about(predicate_type: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image().hex()}}],
        "predicateType": predicate_type,
        "predicate": {},
    })
}

fn simple() -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "odoo"},
            "image": {"docker-manifest-digest": image()},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

fn envelope(key: &KeyPair) -> Vec<u8> {
    let payload = about(SIGNED[1]).to_string();
    let made = key.sign(&pae(PAYLOAD_TYPE, payload.as_bytes())).unwrap();
    let envelope = json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": base64(payload.as_bytes()),
        "signatures": [{"keyid": "", "sig": base64(made.as_bytes())}],
    });
    envelope.to_string().into_bytes()
}

fn layer(kind: u8, content: &[u8], annotations: [String; 5]) -> Vec<u8> {
    let mut fields = [&[kind], content].concat();
    for annotation in annotations {
        fields.push(0);
        fields.extend(annotation.bytes());
    }
    fields
}

/// The annotation that cosign makes of a log's promise.
fn promised(instance: &Instance, content: &[u8], signature: &[u8], verifier: &str) -> String {
    let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": Digest::of(content).hex()}},
        "signature": {
            "content": base64(signature),
            "publicKey": {"content": base64(verifier.as_bytes())},
        },
    }});
    let entry = instance.entry(0, "hashedrekord", &body, at(1));
    json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": at(1).as_second(),
            "logIndex": 0,
            "logID": instance.log_id(0),
        },
    })
    .to_string()
}

fn bundles(instance: &Instance, keys: &Keys) -> Vec<(&'static str, Vec<u8>)> {
    let sign = || about(SIGN_PREDICATE);
    let p256 = || Statement::by_key(&keys.p256, &sign());
    let ed25519 = || keys.by_ed25519(&sign());
    let anna = || instance.keyless(&sign(), &ANNA, at(0));
    let all = [
        ("p256", p256()),
        ("p256-logged", instance.log(0, p256(), at(1))),
        ("p256-tile-stamped", instance.stamp(0, instance.tile(0, p256()), at(1))),
        ("p384", keys.by_p384(&sign())),
        ("ed25519-tile", instance.tile(0, ed25519())),
        ("ed25519-stamped", instance.stamp(0, ed25519(), at(1))),
        ("keyless-logged", instance.log(0, anna(), at(1))),
        ("keyless-tile-stamped", instance.stamp(0, instance.tile(0, anna()), at(1))),
        ("keyless-two-logs", instance.tile(0, instance.log(0, anna(), at(1)))),
        ("provenance", Statement::by_key(&keys.p256, &about(SIGNED[1]))),
    ];
    all.into_iter().map(|(name, one)| (name, one.json().to_string().into_bytes())).collect()
}

fn layers(instance: &Instance, keys: &Keys) -> Vec<(&'static str, Vec<u8>)> {
    let key = &keys.p256;
    let none = String::new;
    let stamp = |bytes: &[u8]| {
        json!({"SignedRFC3161Timestamp": base64(&instance.token(0, bytes, at(1)))}).to_string()
    };
    let made = key.sign(&simple()).unwrap().into_bytes();
    let verifier = pem("PUBLIC KEY", key.public_key_der().unwrap().as_bytes());
    let (certificate, by_anna) = instance.certified(&simple(), &ANNA, at(0));
    let sealed = envelope(key);
    let plain = |made: &[u8]| [base64(made), none(), none(), none(), none()];
    vec![
        ("signature", layer(b's', &simple(), plain(&made))),
        ("signature-ed25519", layer(b's', &simple(), plain(keys.ed25519.sign(&simple()).as_ref()))),
        ("signature-logged-stamped", {
            let promise = promised(instance, &simple(), &made, &verifier);
            layer(b's', &simple(), [base64(&made), none(), none(), promise, stamp(&made)])
        }),
        ("signature-keyless", {
            let promise = promised(instance, &simple(), &by_anna, &certificate);
            let annotations = [base64(&by_anna), certificate, none(), promise, none()];
            layer(b's', &simple(), annotations)
        }),
        ("envelope", layer(b'e', &sealed, [none(), none(), none(), none(), none()])),
        ("envelope-stamped", {
            let stamp = stamp(&sealed);
            layer(b'e', &sealed, [none(), none(), none(), none(), stamp])
        }),
    ]
}

/// Writes the seeds; what was signed before is proved by the new keys no more.
fn make_seeds() {
    let instance = Instance::new(1, 1);
    let keys = Keys::generate();
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/fuzz");
    fs::write(own.join("trusted_root.json"), instance.json().to_string()).unwrap();
    for (key, name) in keys.spki().iter().zip(["p256.pub", "p384.pub", "ed25519.pub"]) {
        fs::write(own.join(name), pem("PUBLIC KEY", key)).unwrap();
    }
    for (target, seeds) in
        [("bundle", bundles(&instance, &keys)), ("payload", layers(&instance, &keys))]
    {
        fs::create_dir_all(folder(target)).unwrap();
        for (name, bytes) in seeds {
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
}
