//! The older layout: layers of `.sig` and `.att` tags, as cosign's signature specification has
//! them, brought into the form of a bundle v0.1 and then proved like any other.
//!
//! A signature is over a payload that names a digest (simple signing). The name of the image in
//! it (`docker-reference`) is a claim that no registry move keeps, and decides nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, DerCertificate};
use tidegate_ids::Digest;

use crate::bundle::Signed;
use crate::shortcoming::Shortcoming;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// What a payload says it is.
const TYPE: &str = "cosign container image signature";

/// A simple signing payload, as far as it decides anything.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

/// A log's promise, as the annotation has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Promise {
    signed_entry_timestamp: String,
    payload: PromisePayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromisePayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
struct Stamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

/// Reads a layer.
pub(crate) fn read(
    attached: Digest,
    media_type: &str,
    content: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Signed, Shortcoming> {
    let malformed = |why: String| Shortcoming::Malformed { attached, why };
    let material = material(annotations).map_err(malformed)?;
    match media_type {
        PAYLOAD => {
            let digest = payload(content).map_err(malformed)?;
            let signature = annotations.get(SIGNATURE).filter(|text| !text.is_empty());
            let signature = signature.ok_or_else(|| malformed(missing(SIGNATURE)))?;
            let hash = base64(Digest::of(content).bytes());
            let bundle = bundle(&json!({
                "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
                "verificationMaterial": material,
                "messageSignature": {
                    "messageDigest": {"algorithm": "SHA2_256", "digest": hash},
                    "signature": signature,
                },
            }));
            Ok(Signed::payload(attached, bundle.map_err(malformed)?, content.to_vec(), digest))
        }
        ENVELOPE => {
            let envelope: Value = serde_json::from_slice(content)
                .map_err(|error| malformed(format!("its envelope is no JSON: {error}")))?;
            let bundle = bundle(&json!({
                "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
                "verificationMaterial": material,
                "dsseEnvelope": envelope,
            }));
            Ok(Signed::new(attached, bundle.map_err(malformed)?)?.stamped(content))
        }
        other => Err(malformed(format!("it is a layer of type {other}"))),
    }
}

fn payload(content: &[u8]) -> Result<Digest, String> {
    let Payload { critical } = serde_json::from_slice(content)
        .map_err(|error| format!("its payload is no simple signing payload: {error}"))?;
    if critical.type_ != TYPE {
        return Err(format!("its payload is a {}, not a {TYPE}", critical.type_));
    }
    Ok(critical.image.digest)
}

fn bundle(json: &Value) -> Result<Bundle, String> {
    Bundle::from_json(&json.to_string()).map_err(|error| error.to_string())
}

/// Certificate, log entry and timestamp, from the annotations to the form of a bundle.
fn material(annotations: &BTreeMap<String, String>) -> Result<Value, String> {
    let present = |key: &str| annotations.get(key).filter(|text| !text.is_empty());
    let mut material = match present(CERTIFICATE) {
        None => json!({"publicKey": {"hint": ""}}),
        Some(leaf) => {
            let chain = present(CHAIN).map(|pem| certificates(pem)).transpose()?;
            let leaf = certificates(leaf)?.into_iter().take(1);
            let chain: Vec<_> = leaf
                .chain(chain.unwrap_or_default())
                .map(|der| json!({"rawBytes": base64(der.as_bytes())}))
                .collect();
            json!({"x509CertificateChain": {"certificates": chain}})
        }
    };
    if let Some(text) = present(LOG) {
        material["tlogEntries"] = json!([entry(text)?]);
    }
    if let Some(text) = present(TIMESTAMP) {
        let stamp: Stamp = serde_json::from_str(text)
            .map_err(|error| format!("its annotation {TIMESTAMP} cannot be read: {error}"))?;
        material["timestampVerificationData"] =
            json!({"rfc3161Timestamps": [{"signedTimestamp": stamp.token}]});
    }
    Ok(material)
}

/// The entry that a log promised; its kind is in its body.
fn entry(text: &str) -> Result<Value, String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("its annotation {LOG} cannot be read: {error}");
    let Promise { signed_entry_timestamp, payload } =
        serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let id: Digest =
        format!("sha256:{}", payload.log_id).parse().map_err(|_| wrong(&"its logID"))?;
    let body = sigstore_verify::types::CanonicalizedBody::from_base64(&payload.body)
        .map_err(|error| wrong(&error))?;
    let kind: Value = serde_json::from_slice(body.as_bytes()).map_err(|error| wrong(&error))?;
    Ok(json!({
        "logIndex": payload.log_index.to_string(),
        "logId": {"keyId": base64(id.bytes())},
        "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
        "integratedTime": payload.integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": signed_entry_timestamp},
        "canonicalizedBody": payload.body,
    }))
}

/// The certificates of a PEM text.
fn certificates(pem: &str) -> Result<Vec<DerCertificate>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = pem.split_inclusive(END).filter(|block| block.contains(END));
    let read = |block: &str| {
        let wrong = |error| format!("its annotation {CERTIFICATE} or {CHAIN}: {error}");
        DerCertificate::from_pem(block.trim()).map_err(wrong)
    };
    let found = blocks.map(read).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(missing(CERTIFICATE)) } else { Ok(found) }
}

fn missing(annotation: &str) -> String {
    format!("its annotation {annotation} is missing or empty")
}

fn base64(bytes: &[u8]) -> String {
    sigstore_verify::types::SignatureBytes::from_bytes(bytes).to_base64()
}
