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
