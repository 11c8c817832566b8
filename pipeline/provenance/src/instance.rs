//! A private Sigstore instance, made for a test: a certificate authority, transparency logs and
//! timestamp authorities with keys of their own, and what a signer brings home from them.
//!
//! It makes the real thing, byte for byte (RFC 5280, RFC 5652, RFC 3161, Rekor's entries and
//! checkpoints), so that tests can ask for what no honest instance gives out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sigstore_verify::crypto::KeyPair;
use sigstore_verify::types::pae;
use tidegate_ids::Digest;

use crate::bundle::PAYLOAD_TYPE;
use crate::{Attached, Roots};

const ECDSA_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SHA256: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// Certificate authority, logs and timestamp authorities.
pub(crate) struct Instance {
    ca: Issuer,
    logs: Vec<KeyPair>,
    stampers: Vec<(Issuer, KeyPair, Vec<u8>)>,
}

struct Issuer {
    key: KeyPair,
    name: Vec<u8>,
    certificate: Vec<u8>,
}

/// What a certificate states.
pub(crate) struct Identity<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    /// Fulcio's other extensions, by the last number of their object identifier.
    pub(crate) claims: &'a [(u8, &'a str)],
}

/// A signed statement that becomes a bundle.
pub(crate) struct Statement {
    payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    material: Value,
    entries: Vec<Value>,
    stamps: Vec<Value>,
    verifier: String,
    spki: Vec<u8>,
}

impl Instance {
    /// One with so many logs and timestamp authorities.
    pub(crate) fn new(logs: usize, stampers: usize) -> Self {
        let stamper = |number: usize| {
            let issuer = Issuer::new(&format!("timestamps {number}"));
            let key = KeyPair::generate_ecdsa_p256().unwrap();
            let usage = extension(
                &[0x55, 0x1d, 0x25],
                true,
                &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 8])]),
            );
            let valid = ("20200101000000Z", "20400101000000Z");
            let certificate = issuer.certify(&key, &name("stamper"), valid, &[usage]);
            (issuer, key, certificate)
        };
        Self {
            ca: Issuer::new("certificates"),
            logs: (0..logs).map(|_| KeyPair::generate_ecdsa_p256().unwrap()).collect(),
            stampers: (0..stampers).map(stamper).collect(),
        }
    }

    pub(crate) fn roots(&self, name: &str) -> Roots {
        Roots::from_json(name, &self.json().to_string()).unwrap()
    }

    /// Its `trusted_root.json`.
    pub(crate) fn json(&self) -> Value {
        let always = json!({"start": "2020-01-01T00:00:00Z"});
        let chain = |certificates: &[&[u8]]| {
            let all = certificates.iter().map(|der| json!({"rawBytes": base64(der)}));
            json!({"certificates": all.collect::<Vec<_>>()})
        };
        let log = |key: &KeyPair| {
            json!({
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64(&spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": always,
                },
                "logId": {"keyId": base64(log_id(key).bytes())},
            })
        };
        let stamper = |(issuer, _, certificate): &(Issuer, KeyPair, Vec<u8>)| json!({"certChain": chain(&[certificate, &issuer.certificate]), "validFor": always});
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": self.logs.iter().map(log).collect::<Vec<_>>(),
            "certificateAuthorities": [{
                "subject": {"organization": "example", "commonName": "certificates"},
                "uri": "https://ca.example",
                "certChain": chain(&[&self.ca.certificate]),
                "validFor": always,
            }],
            "timestampAuthorities": self.stampers.iter().map(stamper).collect::<Vec<_>>(),
            "ctlogs": [],
        })
    }

    pub(crate) fn log_id(&self, log: usize) -> String {
        log_id(&self.logs[log]).hex()
    }

    /// A statement signed with a certificate that is valid for ten minutes from a time.
    pub(crate) fn keyless(
        &self,
        statement: &Value,
        identity: &Identity<'_>,
        at: Timestamp,
    ) -> Statement {
        let (key, certificate) = self.certificate(identity, at);
        let pem = pem("CERTIFICATE", &certificate);
        let material = json!({"certificate": {"rawBytes": base64(&certificate)}});
        let sign = |bytes: &[u8]| key.sign(bytes).unwrap().into_bytes();
        Statement::new(spki(&key), sign, statement, material, pem)
    }

    /// Such a certificate (PEM), and a signature with it over bare bytes.
    pub(crate) fn certified(
        &self,
        bytes: &[u8],
        identity: &Identity<'_>,
        at: Timestamp,
    ) -> (String, Vec<u8>) {
        let (key, certificate) = self.certificate(identity, at);
        (pem("CERTIFICATE", &certificate), key.sign(bytes).unwrap().into_bytes())
    }

    fn certificate(&self, identity: &Identity<'_>, at: Timestamp) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate_ecdsa_p256().unwrap();
        let until = at + jiff::SignedDuration::from_mins(10);
        let mut extensions = vec![
            extension(&[0x55, 0x1d, 0x25], true, &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 3])])),
            extension(&[0x55, 0x1d, 0x11], true, &sequence(&[&subject(identity.subject)])),
            claim(8, identity.issuer),
        ];
        extensions.extend(identity.claims.iter().map(|(number, text)| claim(*number, text)));
        let (at, until) = (generalized(at), generalized(until));
        let certificate = self.ca.certify(&key, &sequence(&[]), (&at, &until), &extensions);
        (key, certificate)
    }

    /// Puts the statement into a log: a promise with a time, and a proof in a log of one entry.
    pub(crate) fn log(&self, log: usize, mut statement: Statement, at: Timestamp) -> Statement {
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": Digest::of(b"").hex()},
            "payloadHash": {
                "algorithm": "sha256",
                "value": Digest::of(&statement.payload).hex(),
            },
            "signatures": [{
                "signature": base64(&statement.signature),
                "verifier": base64(statement.verifier.as_bytes()),
            }],
        }});
        let mut entry = self.entry(log, "dsse", &body, at);
        entry["inclusionProof"] = proof(&self.logs[log], body.to_string().as_bytes());
        statement.entries.push(entry);
        statement
    }

    /// Puts the statement into a log of Rekor v2: a proof and no time.
    pub(crate) fn tile(&self, log: usize, mut statement: Statement) -> Statement {
        let signed = pae(PAYLOAD_TYPE, &statement.payload);
        let mut verifier = match &statement.material["certificate"] {
            Value::Null => json!({"publicKey": {"rawBytes": base64(&statement.spki)}}),
            certificate => json!({"x509Certificate": certificate}),
        };
        verifier["keyDetails"] = "PKIX_ECDSA_P256_SHA_256".into();
        let body = json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": base64(Digest::of(&signed).bytes())},
                "signature": {"content": base64(&statement.signature), "verifier": verifier},
            },
        }});
        statement.entries.push(self.tile_entry(log, &body));
        statement
    }

    /// An entry of Rekor v2.
    pub(crate) fn tile_entry(&self, log: usize, body: &Value) -> Value {
        let body = body.to_string();
        json!({
            "logIndex": "0",
            "logId": {"keyId": base64(log_id(&self.logs[log]).bytes())},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": proof(&self.logs[log], body.as_bytes()),
            "canonicalizedBody": base64(body.as_bytes()),
        })
    }

    /// An entry with a log's promise.
    pub(crate) fn entry(&self, log: usize, kind: &str, body: &Value, at: Timestamp) -> Value {
        let (key, seconds) = (&self.logs[log], at.as_second());
        let body = base64(body.to_string().as_bytes());
        let id = log_id(key);
        let promised = format!(
            r#"{{"body":"{body}","integratedTime":{seconds},"logID":"{}","logIndex":0}}"#,
            id.hex()
        );
        let promise = key.sign(promised.as_bytes()).unwrap();
        json!({
            "logIndex": "0",
            "logId": {"keyId": base64(id.bytes())},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": seconds.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": base64(promise.as_bytes())},
            "canonicalizedBody": body,
        })
    }

    /// Has a timestamp authority stamp the signature.
    pub(crate) fn stamp(&self, stamper: usize, mut to: Statement, at: Timestamp) -> Statement {
        let token = base64(&self.token(stamper, &to.signature, at));
        to.stamps.push(json!({"signedTimestamp": token}));
        to
    }

    /// A timestamp over these bytes (RFC 3161, `TimeStampToken`).
    pub(crate) fn token(&self, stamper: usize, bytes: &[u8], at: Timestamp) -> Vec<u8> {
        let (issuer, key, _) = &self.stampers[stamper];
        let sha256 = sequence(&[SHA256]);
        let info = sequence(&[
            &integer(1),
            &oid(&[0x2a, 3, 4]),
            &sequence(&[&sha256, &tlv(4, &[Digest::of(bytes).bytes()])]),
            &integer(7),
            &tlv(0x18, &[generalized(at).as_bytes()]),
        ]);
        let token_info = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x10, 1, 4]);
        let attribute = |number: u8, value: &[u8]| {
            let kind = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, number]);
            sequence(&[&kind, &tlv(0x31, &[value])])
        };
        let attributes =
            [attribute(3, &token_info), attribute(4, &tlv(4, &[Digest::of(&info).bytes()]))];
        let signature = key.sign(&tlv(0x31, &[&attributes[0], &attributes[1]])).unwrap();
        let signer = sequence(&[
            &integer(1),
            &sequence(&[&issuer.name, &integer(7)]),
            &sha256,
            &tlv(0xa0, &[&attributes[0], &attributes[1]]),
            &sequence(&[ECDSA_SHA256]),
            &tlv(4, &[signature.as_bytes()]),
        ]);
        let content = sequence(&[
            &integer(3),
            &tlv(0x31, &[&sha256]),
            &sequence(&[&token_info, &tlv(0xa0, &[&tlv(4, &[&info])])]),
            &tlv(0x31, &[&signer]),
        ]);
        let kind = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]);
        sequence(&[&kind, &tlv(0xa0, &[&content])])
    }
}

impl Statement {
    /// A statement signed by a key.
    pub(crate) fn by_key(key: &KeyPair, statement: &Value) -> Self {
        Self::signed(spki(key), |bytes| key.sign(bytes).unwrap().into_bytes(), statement)
    }

    /// A statement signed by whatever key this is the public one of.
    pub(crate) fn signed(
        spki: Vec<u8>,
        sign: impl Fn(&[u8]) -> Vec<u8>,
        statement: &Value,
    ) -> Self {
        let hint = base64(Digest::of(&spki).bytes());
        let pem = pem("PUBLIC KEY", &spki);
        Self::new(spki, sign, statement, json!({"publicKey": {"hint": hint}}), pem)
    }

    fn new(
        spki: Vec<u8>,
        sign: impl Fn(&[u8]) -> Vec<u8>,
        statement: &Value,
        material: Value,
        verifier: String,
    ) -> Self {
        let payload = statement.to_string().into_bytes();
        let signature = sign(&pae(PAYLOAD_TYPE, &payload));
        let (entries, stamps) = (Vec::new(), Vec::new());
        Self { payload, signature, material, entries, stamps, verifier, spki }
    }

    /// The bundle (v0.3).
    pub(crate) fn json(self) -> Value {
        let mut material = self.material;
        material["tlogEntries"] = self.entries.into();
        material["timestampVerificationData"] = json!({"rfc3161Timestamps": self.stamps});
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": base64(&self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64(&self.signature)}],
            },
        })
    }

    pub(crate) fn attached(self) -> Attached {
        Attached::bundle(self.json().to_string().into_bytes())
    }
}

impl Issuer {
    fn new(called: &str) -> Self {
        let key = KeyPair::generate_ecdsa_p256().unwrap();
        let mut issuer = Self { key, name: name(called), certificate: Vec::new() };
        let authority = extension(&[0x55, 0x1d, 0x13], true, &sequence(&[&[1, 1, 0xff]]));
        let valid = ("20200101000000Z", "20400101000000Z");
        issuer.certificate = issuer.certify(&issuer.key, &issuer.name, valid, &[authority]);
        issuer
    }

    fn certify(
        &self,
        key: &KeyPair,
        subject: &[u8],
        (from, until): (&str, &str),
        extensions: &[Vec<u8>],
    ) -> Vec<u8> {
        let algorithm = sequence(&[ECDSA_SHA256]);
        let time = |text: &str| tlv(0x18, &[text.as_bytes()]);
        let extensions: Vec<_> = extensions.iter().map(Vec::as_slice).collect();
        let to_sign = sequence(&[
            &tlv(0xa0, &[&integer(2)]),
            &integer(7),
            &algorithm,
            &self.name,
            &sequence(&[&time(from), &time(until)]),
            subject,
            &spki(key),
            &tlv(0xa3, &[&sequence(&extensions)]),
        ]);
        let signature = self.key.sign(&to_sign).unwrap();
        sequence(&[&to_sign, &algorithm, &tlv(3, &[&[0], signature.as_bytes()])])
    }
}

/// A proof for the only entry of a log, with its checkpoint (C2SP tlog-checkpoint).
fn proof(log: &KeyPair, body: &[u8]) -> Value {
    let leaf = Digest::of(&[&[0], body].concat());
    let root = base64(leaf.bytes());
    let note = format!("log.example\n1\n{root}\n");
    let signature = log.sign(note.as_bytes()).unwrap();
    let hinted = base64(&[&log_id(log).bytes()[..4], signature.as_bytes()].concat());
    json!({
        "logIndex": "0",
        "rootHash": root,
        "treeSize": "1",
        "hashes": [],
        "checkpoint": {"envelope": format!("{note}\n\u{2014} log.example {hinted}\n")},
    })
}

fn claim(number: u8, text: &str) -> Vec<u8> {
    // The oldest extensions hold bare text, the newer ones a UTF8String.
    let value = if number < 7 { text.as_bytes().to_vec() } else { tlv(0x0c, &[text.as_bytes()]) };
    extension(&[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, number], false, &value)
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&oid(id), critical, &tlv(4, &[value])])
}

fn subject(text: &str) -> Vec<u8> {
    tlv(if text.contains("://") { 0x86 } else { 0x81 }, &[text.as_bytes()])
}

fn name(text: &str) -> Vec<u8> {
    let common = sequence(&[&oid(&[0x55, 4, 3]), &tlv(0x0c, &[text.as_bytes()])]);
    sequence(&[&tlv(0x31, &[&common])])
}

fn generalized(time: Timestamp) -> String {
    time.strftime("%Y%m%d%H%M%SZ").to_string()
}

fn integer(value: u8) -> Vec<u8> {
    tlv(2, &[&[value]])
}

fn oid(id: &[u8]) -> Vec<u8> {
    tlv(6, &[id])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// Tag, length and value (DER, X.690).
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let mut out = vec![tag];
    match value.len() {
        0..0x80 => out.push(length[1]),
        0x80..0x100 => out.extend([0x81, length[1]]),
        _ => out.extend([0x82, length[0], length[1]]),
    }
    out.extend(value);
    out
}

fn log_id(log: &KeyPair) -> Digest {
    Digest::of(&spki(log))
}

fn spki(key: &KeyPair) -> Vec<u8> {
    key.public_key_der().unwrap().as_bytes().to_vec()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
