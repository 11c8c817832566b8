//! Which keys sign, and how.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as Rsa, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaEncoding,
};
use sigstore_verify::types::pae;

use super::*;
use crate::bundle::PAYLOAD_TYPE;

fn bundle(signature: &[u8]) -> Attached {
    let json = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "dsseEnvelope": {
            "payload": base64(statement().to_string().as_bytes()),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64(signature)}],
        },
    });
    Attached::bundle(json.to_string().into_bytes())
}

fn to_sign() -> Vec<u8> {
    pae(PAYLOAD_TYPE, statement().to_string().as_bytes())
}

fn counts(spki: &[u8], signature: &[u8]) {
    let pem = pem("PUBLIC KEY", spki);
    let holder = Authority::key("release-key", &pem, Log::None, None, None).unwrap();
    proof(bundle(signature), &holder, &Roots::default()).unwrap();
    let mut other = signature.to_vec();
    *other.last_mut().unwrap() ^= 1;
    refused(proof(bundle(&other), &holder, &Roots::default()), "is signed by another key");
}

#[test]
fn an_rsa_key_signs_in_both_paddings() {
    let pair = Rsa::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let ways: [&'static dyn RsaEncoding; 4] =
        [&RSA_PKCS1_SHA256, &RSA_PKCS1_SHA512, &RSA_PSS_SHA256, &RSA_PSS_SHA384];
    for way in ways {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(way, &SystemRandom::new(), &to_sign(), &mut signature).unwrap();
        counts(spki.as_ref(), &signature);
    }
}

#[test]
fn a_p384_key_signs() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let signature = pair.sign(&SystemRandom::new(), &to_sign()).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    counts(spki.as_ref(), signature.as_ref());
}

#[test]
fn an_ed25519_key_signs() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let signature = pair.sign(&to_sign());
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    counts(spki.as_ref(), signature.as_ref());
}

/// cosign logs RSA and P-384 signatures in Rekor v2, too.
#[test]
fn known_break_in_log_entry_not_bound_to_the_signature_of_a_key_of_another_kind() {
    let (instance, foreign) = (Instance::new(1, 1), Instance::new(1, 1));
    let roots = instance.roots("lab");
    let pair = Rsa::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), &to_sign(), &mut signature).unwrap();
    let body = |digest: Digest, content: &[u8], key: &[u8]| {
        json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": base64(digest.bytes())},
            "signature": {"content": base64(content), "verifier": {
                "keyDetails": "PKIX_RSA_PSS_2048_SHA256",
                "publicKey": {"rawBytes": base64(key)},
            }},
        }}})
    };
    let right = body(Digest::of(&to_sign()), &signature, spki.as_ref());
    let holder =
        Authority::key("k", &pem("PUBLIC KEY", spki.as_ref()), Log::Required, None, None).unwrap();
    let with = |entry: Value, stamp: Option<Vec<u8>>| {
        let Attached::Bundle { json, .. } = bundle(&signature) else { unreachable!() };
        let mut json: Value = serde_json::from_slice(&json).unwrap();
        json["verificationMaterial"]["tlogEntries"] = json!([entry]);
        let stamps: Vec<_> =
            stamp.iter().map(|token| json!({"signedTimestamp": base64(token)})).collect();
        json["verificationMaterial"]["timestampVerificationData"] =
            json!({"rfc3161Timestamps": stamps});
        proof(Attached::bundle(json.to_string().into_bytes()), &holder, &roots)
    };
    let stamp = || Some(instance.token(0, &signature, at(1)));
    let proved = with(instance.tile_entry(0, &right), stamp()).unwrap();
    assert_eq!(proved.logs.into_iter().collect::<Vec<_>>(), [instance.log_id(0)]);
    assert_eq!((proved.timestamps.len(), proved.times), (1, vec![at(1)]));
    let unbound = [
        body(Digest::of(b"another"), &signature, spki.as_ref()),
        body(Digest::of(&to_sign()), b"another", spki.as_ref()),
        body(Digest::of(&to_sign()), &signature, key().public_key_der().unwrap().as_bytes()),
    ];
    for body in unbound {
        refused(with(instance.tile_entry(0, &body), None), "does not match the bundle");
    }
    refused(with(foreign.tile_entry(0, &right), None), "no log of the root signed it");
    let mut unproved = instance.tile_entry(0, &right);
    unproved.as_object_mut().unwrap().remove("inclusionProof");
    refused(with(unproved, stamp()), "has no inclusion proof");
    let mut elsewhere = instance.tile_entry(0, &right);
    let other = body(Digest::of(&to_sign()), &signature, b"");
    elsewhere["inclusionProof"] = instance.tile_entry(0, &other)["inclusionProof"].clone();
    refused(with(elsewhere, stamp()), "invalid inclusion proof");
    let badly_stamped = instance.token(0, b"another signature", at(1));
    refused(with(instance.tile_entry(0, &right), Some(badly_stamped)), "does not prove");
}

#[test]
fn a_key_that_is_too_weak_or_none_is_no_authority() {
    // An RSA key of 1024 bits, and a point without its curve.
    let weak = {
        let mut modulus = vec![0x02, 0x81, 0x81, 0x00];
        modulus.extend([0xc3; 128]);
        let key = [&[0x30, 0x81, 0x89][..], &modulus, &[0x02, 3, 1, 0, 1]].concat();
        let algorithm =
            [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0].as_slice();
        let bits = [&[0x03, 0x81, 0x8d, 0][..], &key].concat();
        [&[0x30, 0x81, 0x9f][..], algorithm, &bits].concat()
    };
    let said = Authority::key("k", &pem("PUBLIC KEY", &weak), Log::None, None, None).unwrap_err();
    assert!(said.to_string().contains("1024 bits"), "{said}");
    for rubbish in ["", "rubbish", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
        assert!(Authority::key("k", rubbish, Log::None, None, None).is_err(), "{rubbish}");
    }
}
