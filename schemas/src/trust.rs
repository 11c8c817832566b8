//! Who must have signed the images of these names, and what must be known about them.
//!
//! Written by the security team. A field left out never means "anything": whoever signs is named,
//! logs are asked for unless `log: none` is said, and what can never match is refused here, since
//! a policy that silently matches nothing is found out on the night of a release.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use tidegate_ids::{Digest, Period};

/// What an image must prove before it may run. An image that no policy names does not run;
/// where several name it, all must be satisfied. What one policy revokes, no policy lets run.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default,
)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "TrustPolicy",
    derive = "PartialEq",
    shortname = "tgtrust",
    category = "tidegate",
    printcolumn(name = "Images", type_ = "string", json_path = ".spec.images"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.require) && self.require.size() > 0) || (has(self.static) && self.static.size() > 0) || (has(self.revoked) && self.revoked.size() > 0)", "say who must have signed (require), which digests are accepted without (static), or what is revoked"))]
#[x_kube(validation = ("!has(self.attestations) || (has(self.require) && self.require.size() > 0)", "attestations need require: it says whose statements count"))]
#[x_kube(validation = ("!has(self.base) || (has(self.require) && self.require.size() > 0)", "base needs require: it says whose statements count"))]
#[x_kube(validation = ("has(self.roots) || !has(self.require) || self.require.all(r, r.anyOf.all(a, has(a.key) && a.key.log == 'none'))", "keyless authorities and keys with log: required need roots: name a trusted root"))]
#[x_kube(validation = ("has(self.roots) || !has(self.attestations) || self.attestations.all(t, !has(t.by) || t.by.all(a, has(a.key) && a.key.log == 'none'))", "keyless authorities and keys with log: required in attestations need roots: name a trusted root"))]
#[x_kube(validation = ("has(self.roots) || !has(self.require) || self.require.all(r, (!has(r.logs) || r.logs == 0) && (!has(r.timestamps) || r.timestamps == 0))", "logs and timestamps need roots, which describe them: name a trusted root"))]
pub struct TrustPolicySpec {
    /// Canonical image names (registry and repository); a trailing `/*` stands for everything below.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = ("self.all(i, !i.startsWith('index.docker.io/') && !i.matches('^docker[.]io/[^/*]+$'))", "names of Docker Hub are docker.io/library/redis or docker.io/organisation/name; in another spelling nothing matches"))]
    #[x_kube(validation = ("self.all(i, i.matches('^([a-z0-9-]+([.][a-z0-9-]+)*:[0-9]+|[a-z0-9-]+([.][a-z0-9-]+)+|localhost)((/[a-z0-9._-]+)+(/[*])?|/[*])$'))", "an image name is registry/repository in lower case, or registry/path/* for everything below"))]
    pub images: Vec<String>,
    /// Requirements; every one must be satisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub require: Vec<Requirement>,
    /// Where certificate authorities, logs and timestamp authorities are described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub roots: Vec<TrustedRootRef>,
    /// Statements about the image that must be there; every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub attestations: Vec<AttestationRequirement>,
    /// What the image may be built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseImages>,
    /// Digests that run without a signature, each an exception that two people made.
    #[serde(default, rename = "static", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub static_: Vec<StaticDigest>,
    /// What no longer counts, under any policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub revoked: Vec<Revocation>,
}

/// Some of these authorities must have signed.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.count) || self.count <= self.anyOf.size()", "count is more than there are authorities, which nothing can satisfy"))]
#[x_kube(validation = ("self.anyOf.all(a, self.anyOf.exists_one(b, a == b))", "anyOf names the same authority twice, which counts once: leave one out"))]
pub struct Requirement {
    /// The authorities.
    #[schemars(length(min = 1, max = 16))]
    pub any_of: Vec<Authority>,
    /// How many different ones of them.
    #[serde(default = "crate::default::one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
    /// In how many different transparency logs each signature must be; by default in one, where a
    /// log is asked for at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 4))]
    pub logs: u32,
    /// How many different timestamp authorities must have stamped each signature.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 4))]
    pub timestamps: u32,
}

/// Somebody who signs images.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.key) != has(self.keyless)", "name exactly one of key and keyless"))]
pub struct Authority {
    /// The holder of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyAuthority>,
    /// Whoever proved this identity to a certificate authority (Fulcio).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<KeylessAuthority>,
}

/// A public key, here or in a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.secret) != has(self.pem)", "name exactly one of secret and pem"))]
#[x_kube(validation = ("!has(self.validFrom) || !has(self.validUntil) || timestamp(self.validFrom) < timestamp(self.validUntil)", "validFrom must be before validUntil, or no signature is in between"))]
pub struct KeyAuthority {
    /// A Secret in the engine's namespace whose `cosign.pub` is the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret: Option<String>,
    /// The key itself (PEM, SubjectPublicKeyInfo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub pem: Option<String>,
    /// Whether the signature must be in a transparency log.
    #[serde(default)]
    pub log: Log,
    /// Signatures made before do not count. Without a log or timestamp authority that tells when a
    /// signature was made, the key is not used at all before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Signatures made later do not count. Without a log or timestamp authority that tells when a
    /// signature was made, none counts after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// What is asked of transparency logs.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// An entry in a log of `roots`.
    #[default]
    Required,
    /// No log entry is asked for. It has to be said.
    None,
}

/// An identity as a certificate states it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.source) || !(self.issuer in ['https://token.actions.githubusercontent.com', 'https://gitlab.com', 'https://agent.buildkite.com'])", "the identity of a CI service must name source.repository and source.ref: its subject alone can be used from any repository that calls the same workflow"))]
pub struct KeylessAuthority {
    /// The OpenID Connect issuer, exactly.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("self.startsWith('https://') || self.startsWith('http://127.0.0.1')", "issuer is an https:// URL"))]
    pub issuer: String,
    /// The certificate's subject alternative name.
    pub subject: TextMatch,
    /// The repository that the workflow ran for. Certificates of CI services count only with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceMatch>,
    /// The workflow that signed, as the certificate's build signer URI states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<TextMatch>,
    /// The event that started the workflow, such as `push`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub trigger: Option<String>,
    /// The kind of runner, such as `github-hosted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub runner: Option<String>,
}

/// A text: exactly this one, or one that the whole of a regular expression matches.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.exact) != has(self.regex)", "name exactly one of exact and regex"))]
#[x_kube(validation = ("!has(self.regex) || (''.matches(self.regex) ? true : true)", "regex is no regular expression (RE2)"))]
#[x_kube(validation = ("!has(self.regex) || !''.matches('^(?:' + self.regex + ')$')", "regex matches an empty text, so it would match anything or nothing; name what must be there"))]
pub struct TextMatch {
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub exact: Option<String>,
    /// A regular expression (RE2) over the whole text: it is anchored at both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub regex: Option<String>,
}

/// A source repository as a certificate states it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceMatch {
    /// Its URL, such as `https://github.com/hospital/odoo`; without a scheme, `hospital/odoo`
    /// stands for that path at the issuer's forge.
    #[schemars(length(min = 1, max = 512))]
    pub repository: String,
    /// The forge's own number for it, which a renamed or new repository of that name does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub repository_id: Option<String>,
    /// The ref, such as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub ref_: TextMatch,
}

/// Where authorities and logs are described: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.publicGood) != has(self.configMap)", "name exactly one of publicGood and configMap"))]
#[x_kube(validation = ("!has(self.publicGood) || self.publicGood", "publicGood is true or left out"))]
pub struct TrustedRootRef {
    /// Sigstore's public instance, as it was when this version of Tidegate was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_good: Option<bool>,
    /// A ConfigMap in the engine's namespace whose `trusted_root.json` is a Sigstore trusted root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map: Option<String>,
}

/// A statement about the image that must be there: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.slsa), has(self.sbom), has(self.vulnerabilities), has(self.custom)].filter(f, f).size() == 1", "name exactly one of slsa, sbom, vulnerabilities and custom"))]
pub struct AttestationRequirement {
    /// Whose statements count; the authorities of `require` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub by: Vec<Authority>,
    /// How it was built (SLSA provenance v0.2 or v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slsa: Option<SlsaRequirement>,
    /// What is in it (SPDX or CycloneDX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<SbomRequirement>,
    /// What is known to be wrong with it (cosign's `vuln`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<VulnerabilityRequirement>,
    /// Any other statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomRequirement>,
}

/// How an image must have been built.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SlsaRequirement {
    /// The builder's id.
    pub builder: TextMatch,
    /// The source repository it must have been built from: its URL without `git+` and `@ref`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SlsaSource>,
    /// The build type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_type: Option<TextMatch>,
    /// Names of parameters that the build may have been given; any other one refuses it. Without
    /// this list no parameter may have been given, besides those that name the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub parameters: Vec<String>,
}

/// The source that a provenance statement must name.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SlsaSource {
    /// Its URL, such as `https://github.com/hospital/odoo`.
    #[schemars(length(min = 1, max = 512))]
    pub repository: String,
    /// The ref, such as `refs/heads/main`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<TextMatch>,
}

/// What an SBOM must have.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SbomRequirement {
    /// The formats that count; both where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub formats: Vec<SbomFormat>,
    /// How many packages it must name at least.
    #[serde(default = "crate::default::one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1))]
    pub min_packages: u32,
    /// How many percent of its packages must have a version and a package URL.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 100))]
    pub min_identified: u32,
}

/// The format of an SBOM.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum SbomFormat {
    /// SPDX 2.2 or 2.3, JSON.
    #[serde(rename = "SPDX")]
    Spdx,
    /// CycloneDX 1.4 or later, JSON.
    CycloneDX,
}

/// What a scan must say.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityRequirement {
    /// How old the scan may be.
    pub max_age: Period,
    /// The worst severity that is accepted.
    pub max_severity: Severity,
    /// The scanner's URI; any where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<TextMatch>,
}

/// How bad a vulnerability is.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum Severity {
    /// Nothing is accepted, or nothing was found.
    None,
    /// Of little concern.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical, and whatever has no known severity.
    Critical,
}

/// Any statement, judged by an expression.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.type != 'https://sigstore.dev/cosign/sign/v1'", "type is that of a signature, which says nothing; use require"))]
pub struct CustomRequirement {
    /// What is asked for, where people read of it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The predicate type, exactly.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 512))]
    pub type_: String,
    /// A CEL expression over `predicate` and `subject` (the image's name and digest) that must be
    /// true. An error is not true.
    #[schemars(length(min = 1, max = 2048))]
    pub rule: String,
    /// What to say when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
}

/// What an image may be built on.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BaseImages {
    /// The approved bases; the image must be built on one of them.
    #[schemars(length(min = 1, max = 64))]
    pub approved: Vec<BaseImage>,
    /// Where the base is read: provenance materials are signed, annotations are what the builder
    /// wrote into the signed image.
    #[serde(default)]
    pub from: BaseSource,
}

/// An approved base image.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BaseImage {
    /// Its canonical name; a trailing `/*` stands for everything below.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = ("!self.startsWith('index.docker.io/') && !self.matches('^docker[.]io/[^/*]+$')", "names of Docker Hub are docker.io/library/debian or docker.io/organisation/name; in another spelling nothing matches"))]
    #[x_kube(validation = ("self.matches('^([a-z0-9-]+([.][a-z0-9-]+)*:[0-9]+|[a-z0-9-]+([.][a-z0-9-]+)+|localhost)((/[a-z0-9._-]+)+(/[*])?|/[*])$')", "an image name is registry/repository in lower case, or registry/path/* for everything below"))]
    pub image: String,
    /// The digests that are approved; any where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub digests: Vec<Digest>,
}

/// Where it is read what an image is built on.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default,
)]
pub enum BaseSource {
    /// The materials of its SLSA provenance.
    #[default]
    Provenance,
    /// The image's own annotations `org.opencontainers.image.base.name` and `.digest`.
    Annotations,
}

/// A digest that runs without a signature.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.owner.trim().lowerAscii() != self.approvedBy.trim().lowerAscii()", "approvedBy must be another person than owner"))]
pub struct StaticDigest {
    /// What runs.
    pub digest: Digest,
    /// Who answers for it.
    #[schemars(length(min = 1, max = 253))]
    pub owner: String,
    /// The second person.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
    /// Why it is needed.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Until when.
    pub expires: Timestamp,
}

/// What no longer counts: exactly one of digest, key and identity.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.digest), has(self.key), has(self.identity)].filter(f, f).size() == 1", "name exactly one of digest, key and identity"))]
#[x_kube(validation = ("!has(self.digest) || !has(self.since)", "a revoked digest is revoked altogether: leave out since"))]
pub struct Revocation {
    /// An image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// A key, by the SHA-256 of its SubjectPublicKeyInfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// An identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<RevokedIdentity>,
    /// Signatures proved to be made before still count; none where nothing is said. A signature
    /// whose time nothing proves does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// An identity that no longer counts.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RevokedIdentity {
    /// Its issuer.
    #[schemars(length(min = 1, max = 512))]
    pub issuer: String,
    /// Its subject.
    pub subject: TextMatch,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_one(count: &u32) -> bool {
    *count == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
