//! Verification summaries: what was found about one image for one environment, as a SLSA VSA.
//!
//! The statement is made of recorded facts only, and its bytes are canonical JSON: the same facts
//! make the same statement, whenever it is made again. What SLSA's predicate has no field for
//! stands in one extension field whose name is a URI, as the specification asks of producers
//! (<https://slsa.dev/spec/v1.1/verification_summary>, "Parsing rules"); consumers ignore it.
//!
//! Signing is the caller's: it signs [`Statement::signed_bytes`] and gets the bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_ids::{Digest, canonical_json};
use tidegate_schemas::Verdict;

use crate::ImageRef;

/// The predicate type of a verification summary.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// The media and artifact type of a bundle beside an image.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD: &str = "application/vnd.in-toto+json";
/// The extension field of the predicate.
const EXTENSION: &str = "https://tidegate.dev/verification_summary/v1";
const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/";
/// The version of the SLSA specification that the levels are of.
const SLSA_VERSION: &str = "1.1";
/// How many reasons are told, and how long each may be.
const REASONS: usize = 20;
const REASON_LENGTH: usize = 1000;

/// Whose summaries these are: an environment of a cluster, with a key of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The cluster, as the uid of its namespace `kube-system`.
    pub cluster: String,
    /// The namespace of the environment.
    pub namespace: String,
    /// The environment.
    pub environment: String,
}

impl Verifier {
    /// The verifier's id. Each has its own key, so that a consumer accepts one pair of both.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { cluster, namespace, environment } = self;
        format!("https://tidegate.dev/verifiers/{cluster}/{namespace}/{environment}")
    }

    /// What the summary is about: the image's repository for this environment. A summary for dev
    /// is thus none for production (SLSA, `resourceUri`).
    #[must_use]
    pub fn resource(&self, image: &ImageRef) -> String {
        format!("oci://{}?environment={}", image.repository, self.environment)
    }
}

/// What is summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Who says so.
    pub verifier: &'a Verifier,
    /// The pipeline that brings the image.
    pub pipeline: &'a str,
    /// The image.
    pub image: &'a ImageRef,
    /// What was found.
    pub verdict: &'a Verdict,
    /// When it was decided on.
    pub at: Timestamp,
    /// The digest of the summary (its bundle) of the environment before.
    pub previous: Option<Digest>,
}

impl Summary<'_> {
    /// The name of these findings: of image, rules, outcome and expiry. Findings of one name are
    /// summed up once for an environment; whoever attaches rubbish to an image makes no new ones.
    #[must_use]
    pub fn name(&self) -> String {
        let Verdict { passed, rules, until, .. } = self.verdict;
        let text = format!(
            "{}\n{passed}\n{}\n{}",
            self.image,
            rules.map(|digest| digest.to_string()).unwrap_or_default(),
            until.map(|time| time.to_string()).unwrap_or_default(),
        );
        Digest::of(text.as_bytes()).hex()
    }

    /// The statement.
    ///
    /// # Errors
    /// Never for these types; the signature follows the serializer's.
    pub fn statement(&self) -> Result<Statement, serde_json::Error> {
        let Self { verifier, image, verdict, .. } = self;
        let mut policy = json!({ "uri": policy_uri(&verdict.policies) });
        if let Some(rules) = verdict.rules {
            policy["digest"] = json!({ "sha256": rules.hex() });
        }
        let outcome = if verdict.passed { "PASSED" } else { "FAILED" };
        let statement = json!({
            "_type": STATEMENT,
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": SUMMARY,
            "predicate": {
                "verifier": {
                    "id": verifier.id(),
                    "version": { "tidegate": env!("CARGO_PKG_VERSION") },
                },
                "timeVerified": self.at.to_string(),
                "resourceUri": verifier.resource(image),
                "policy": policy,
                "inputAttestations": self.inputs(),
                "verificationResult": outcome,
                "verifiedLevels": [level(verdict)],
                "slsaVersion": SLSA_VERSION,
                EXTENSION: self.extension(),
            },
        });
        Ok(Statement(canonical_json(&statement)?))
    }

    /// What the outcome rests on, each by the digest that the registry has it by.
    fn inputs(&self) -> Vec<Value> {
        let mut digests: Vec<Digest> =
            self.verdict.statements.iter().map(|statement| statement.digest).collect();
        digests.extend(self.previous);
        let mut known = Vec::new();
        digests.retain(|digest| {
            !known.contains(digest) && {
                known.push(*digest);
                true
            }
        });
        let uri = |digest: &Digest| format!("oci://{}@{digest}", self.image.repository);
        let input = |d: &Digest| json!({ "uri": uri(d), "digest": { "sha256": d.hex() } });
        digests.iter().map(input).collect()
    }

    fn extension(&self) -> Value {
        let Self { verifier, verdict, .. } = self;
        let reasons = verdict.reasons.iter().take(REASONS);
        let reasons: Vec<String> =
            reasons.map(|reason| reason.chars().take(REASON_LENGTH).collect()).collect();
        let mut field = json!({
            "cluster": verifier.cluster,
            "namespace": verifier.namespace,
            "pipeline": self.pipeline,
            "environment": verifier.environment,
            "signers": verdict.signers,
        });
        if let Some(until) = verdict.until {
            field["expires"] = until.to_string().into();
        }
        if let Some(previous) = self.previous {
            field["previous"] = previous.to_string().into();
        }
        if !reasons.is_empty() {
            field["reasons"] = reasons.into();
        }
        if let Some(exception) = &verdict.exception {
            field["exception"] = json!({
                "policy": exception.policy,
                "owner": exception.owner,
                "approvedBy": exception.approved_by,
                "reason": exception.reason,
                "expires": exception.expires.to_string(),
            });
        }
        field
    }
}

fn policy_uri(policies: &[String]) -> String {
    format!("https://tidegate.dev/trustpolicies/{}", policies.join("+"))
}

/// The level that was verified. Provenance that a policy asks for, signed by whom it trusts, is
/// level 1; the levels above say things of the build platform that no statement proves. Everything
/// meets level 0, which is said where no provenance counted.
fn level(verdict: &Verdict) -> &'static str {
    let provenance = |type_: &str| type_.starts_with(SLSA_PROVENANCE);
    match verdict.passed {
        false => "FAILED",
        true if verdict.statements.iter().any(|s| provenance(&s.type_)) => "SLSA_BUILD_LEVEL_1",
        true => "SLSA_BUILD_LEVEL_0",
    }
}

/// What a summary says of itself, once its bundle was read. Whoever reads it checks the signature
/// over [`Told::signed_bytes`] before anything of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The image.
    pub image: ImageRef,
    /// Whether it passed.
    pub passed: bool,
    /// When it was decided on.
    pub at: Timestamp,
    /// The bytes that the signature is made over.
    pub signed_bytes: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Told {
    /// Reads a bundle that [`Statement::bundle`] made; `None` for anything else.
    #[must_use]
    pub fn read(bundle: &[u8]) -> Option<Self> {
        let bundle: Value = serde_json::from_slice(bundle).ok()?;
        let envelope = &bundle["dsseEnvelope"];
        let decoded = |field: &Value| STANDARD.decode(field.as_str()?).ok();
        let signature = decoded(&envelope["signatures"][0]["sig"])?;
        let statement = Statement(decoded(&envelope["payload"])?);
        let json: Value = serde_json::from_slice(&statement.0).ok()?;
        if envelope["payloadType"] != PAYLOAD || json["predicateType"] != SUMMARY {
            return None;
        }
        let (subject, predicate) = (&json["subject"][0], &json["predicate"]);
        let digest = format!("sha256:{}", subject["digest"]["sha256"].as_str()?);
        Some(Self {
            image: ImageRef {
                repository: subject["name"].as_str()?.to_owned(),
                digest: digest.parse().ok()?,
            },
            passed: predicate["verificationResult"] == "PASSED",
            at: predicate["timeVerified"].as_str()?.parse().ok()?,
            signed_bytes: statement.signed_bytes(),
            signature,
        })
    }
}

/// A statement that is ready to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement(Vec<u8>);

impl Statement {
    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.0
    }

    /// The bytes that a signature is made over: DSSE's pre-authentication encoding.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), self.0.len()).into_bytes();
        bytes.extend_from_slice(&self.0);
        bytes
    }

    /// The Sigstore bundle (v0.3) of a signature over [`Statement::signed_bytes`], with a key's
    /// `SubjectPublicKeyInfo` as its hint. It has no log entry: a verifier of summaries has the key.
    ///
    /// # Errors
    /// Never for these types; the signature follows the serializer's.
    pub fn bundle(&self, signature: &[u8], key: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        canonical_json(&json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "publicKey": { "hint": STANDARD.encode(Digest::of(key).bytes()) },
            },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&self.0),
                "payloadType": PAYLOAD,
                "signatures": [{ "sig": STANDARD.encode(signature) }],
            },
        }))
    }
}

#[cfg(test)]
mod tests;
