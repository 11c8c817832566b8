//! The older layout: `.sig` and `.att` layers.

use std::collections::BTreeMap;

use sigstore_verify::types::pae;

use super::*;
use crate::bundle::PAYLOAD_TYPE;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

fn payload(digest: Digest, type_: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.elsewhere.example/odoo"},
            "image": {"docker-manifest-digest": digest},
            "type": type_,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

fn image_payload() -> Vec<u8> {
    payload(image(), "cosign container image signature")
}

fn layer(media_type: &str, content: &[u8], annotations: &[(&str, String)]) -> Attached {
    let named = |(key, value): &(&str, String)| (format!("dev.{key}"), value.clone());
    Attached::Layer {
        digest: Digest::of(content),
        media_type: media_type.to_owned(),
        content: content.to_vec(),
        annotations: annotations.iter().map(named).collect::<BTreeMap<_, _>>(),
    }
}

fn signature(key: &KeyPair, bytes: &[u8]) -> Vec<u8> {
    key.sign(bytes).unwrap().into_bytes()
}

/// The annotation that cosign makes of a log's promise.
fn promised(instance: &Instance, kind: &str, body: &Value, time: Timestamp) -> String {
    let entry = instance.entry(0, kind, body, time);
    json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": time.as_second(),
            "logIndex": 0,
            "logID": instance.log_id(0),
        },
    })
    .to_string()
}

fn hashed(content: &[u8], signature: &[u8], verifier: &str) -> Value {
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": Digest::of(content).hex()}},
        "signature": {
            "content": base64(signature),
            "publicKey": {"content": base64(verifier.as_bytes())},
        },
    }})
}

#[test]
fn a_payload_signed_by_the_key_is_a_signature_of_the_digest_in_it() {
    let key = key();
    let made = base64(&signature(&key, &image_payload()));
    let signed = layer(PAYLOAD, &image_payload(), &[("cosignproject.cosign/signature", made)]);
    let proved = proof(signed, &holder(&key, Log::None), &Roots::default()).unwrap();
    assert_eq!(proved.predicate_type, SIGN_PREDICATE);
    assert_eq!(proved.subjects.into_iter().collect::<Vec<_>>(), [image()]);
    assert_eq!(proved.predicate, Value::Null);
}

#[test]
fn a_layer_is_what_it_says_and_about_what_it_says() {
    let key = key();
    let holder = holder(&key, Log::None);
    let signed = |media_type: &str, content: &[u8]| {
        let made = base64(&signature(&key, content));
        let attached = layer(media_type, content, &[("cosignproject.cosign/signature", made)]);
        proof(attached, &holder, &Roots::default())
    };
    let other = Digest::of(b"another");
    let proved = signed(PAYLOAD, &payload(other, "cosign container image signature")).unwrap();
    assert!(!proved.subjects.contains(&image()), "a signature for another digest");
    refused(signed(PAYLOAD, &payload(image(), "atomic container signature")), "not a cosign");
    refused(signed("text/plain", &image_payload()), "is a layer of type text/plain");
    refused(signed(PAYLOAD, b"{}"), "is no simple signing payload");
    refused(signed(ENVELOPE, &image_payload()), "cannot be read");
    let twice = image_payload();
    let twice = String::from_utf8(twice).unwrap().replacen(
        "\"critical\"",
        &format!("\"critical\":{},\"critical\"", payload(other, "x").len()),
        1,
    );
    refused(signed(PAYLOAD, twice.as_bytes()), "is no simple signing payload");
    let unsigned = layer(PAYLOAD, &image_payload(), &[]);
    refused(proof(unsigned, &holder, &Roots::default()), "missing or empty");
    let made = base64(&signature(&self::key(), &image_payload()));
    let stranger = layer(PAYLOAD, &image_payload(), &[("cosignproject.cosign/signature", made)]);
    refused(proof(stranger, &holder, &Roots::default()), "is signed by another key");
}

#[test]
fn a_logged_payload_is_proved_by_the_log_s_promise() {
    let (instance, key) = (Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let content = image_payload();
    let made = signature(&key, &content);
    let verifier = pem("PUBLIC KEY", key.public_key_der().unwrap().as_bytes());
    let with = |promise: String| {
        let stamp = json!({"SignedRFC3161Timestamp": base64(&instance.token(0, &made, at(1)))});
        let annotations = [
            ("cosignproject.cosign/signature", base64(&made)),
            ("sigstore.cosign/bundle", promise),
            ("sigstore.cosign/rfc3161timestamp", stamp.to_string()),
        ];
        proof(layer(PAYLOAD, &content, &annotations), &holder(&key, Log::Required), &roots)
    };
    let body = hashed(&content, &made, &verifier);
    let proved = with(promised(&instance, "hashedrekord", &body, at(0))).unwrap();
    assert_eq!((proved.logs.len(), proved.timestamps.len()), (1, 1));
    assert_eq!(proved.times, [at(0), at(1)]);
    let again = signature(&key, &content);
    for body in [hashed(b"another", &made, &verifier), hashed(&content, &again, &verifier)] {
        refused(with(promised(&instance, "hashedrekord", &body, at(0))), "does not prove");
    }
    let later = promised(&instance, "hashedrekord", &body, at(0))
        .replace(&at(0).as_second().to_string(), &at(5).as_second().to_string());
    refused(with(later), "does not prove");
}

/// cosign stamps the whole envelope of an attestation, not its signature.
#[test]
fn an_envelope_counts_with_a_stamp_over_all_of_it() {
    let (instance, key) = (Instance::new(1, 1), key());
    let roots = instance.roots("lab");
    let mut about = statement();
    about["predicateType"] = "https://slsa.dev/provenance/v0.2".into();
    about["_type"] = "https://in-toto.io/Statement/v0.1".into();
    let payload = about.to_string();
    let made = signature(&key, &pae(PAYLOAD_TYPE, payload.as_bytes()));
    let envelope = json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": base64(payload.as_bytes()),
        "signatures": [{"keyid": "", "sig": base64(&made)}],
    });
    let content = envelope.to_string().into_bytes();
    let stamped = |bytes: &[u8]| {
        let stamp = json!({"SignedRFC3161Timestamp": base64(&instance.token(0, bytes, at(1)))});
        let annotations = [
            ("cosignproject.cosign/signature", String::new()),
            ("sigstore.cosign/rfc3161timestamp", stamp.to_string()),
        ];
        proof(layer(ENVELOPE, &content, &annotations), &holder(&key, Log::None), &roots)
    };
    let proved = stamped(&content).unwrap();
    assert_eq!(proved.predicate_type, "https://slsa.dev/provenance/v0.2");
    assert_eq!((proved.timestamps.len(), proved.times), (1, vec![at(1)]));
    refused(stamped(b"another envelope"), "does not prove");
}
