//! The programs of the private Sigstore and their command lines.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::identity::FORGE;
use crate::binaries::SigstoreBinaries;
use crate::parts::part;
use crate::ports;
use crate::supervisor::Part;

/// The transparency log's name: its checkpoints say it, and clients find its key by it.
pub(super) const LOG: &str = "rekor.lab";

/// Where the private Sigstore listens, each as `host:port`; plain HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) issuer: String,
    pub(super) certificate_log: String,
    pub(super) certificates: String,
    pub(super) log: String,
    pub(super) timestamps: String,
    /// Ports that the programs open and nobody asks.
    inner: [u16; 4],
}

impl Addresses {
    pub(super) fn new() -> Self {
        let [issuer, certificate_log, certificates, log, timestamps, inner @ ..]: [u16; 9] =
            ports::free();
        let address = |port: u16| format!("127.0.0.1:{port}");
        Self {
            issuer: address(issuer),
            certificate_log: address(certificate_log),
            certificates: address(certificates),
            log: address(log),
            timestamps: address(timestamps),
            inner,
        }
    }
}

/// Every part in the order to start them, with the address at which it answers.
pub(super) fn all(
    folder: &Path,
    labd: &Path,
    binaries: &SigstoreBinaries,
    addresses: &Addresses,
) -> [(&'static str, Part, String); 5] {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let [fulcio_grpc, fulcio_metrics, log_grpc, log_metrics] =
        addresses.inner.map(|port| port.to_string());
    let issuer =
        part(labd, ["issuer"], [("listen", addresses.issuer.clone()), ("key", path("issuer.key"))]);
    let certificate_log = part(
        &binaries.certificate_log,
        [],
        [
            ("http_endpoint", addresses.certificate_log.clone()),
            ("origin", "ct.lab".into()),
            ("private_key", path("ct.key")),
            ("storage_dir", path("ct")),
            ("roots_pem_file", path("fulcio.root")),
            ("ext_key_usages", "CodeSigning".into()),
            ("checkpoint_interval", "200ms".into()),
            ("batch_max_age", "20ms".into()),
        ],
    );
    let certificates = part(
        &binaries.fulcio,
        ["serve"],
        [
            ("host", "127.0.0.1".into()),
            ("port", port(&addresses.certificates)),
            ("grpc-host", "127.0.0.1".into()),
            ("grpc-port", fulcio_grpc.clone()),
            ("metrics-port", fulcio_metrics),
            // An abstract socket is the machine's, not the folder's: several labs run at once.
            ("legacy-unix-domain-socket", format!("@tidegate-lab-fulcio-{fulcio_grpc}")),
            ("config-path", path("fulcio.json")),
            ("ca", "fileca".into()),
            ("fileca-cert", path("fulcio.chain")),
            ("fileca-key", path("fulcio.key")),
            // The key is not encrypted, but Fulcio does not start without a word.
            ("fileca-key-passwd", "none".into()),
            ("fileca-watch", "false".into()),
            ("ct-log-url", format!("http://{}", addresses.certificate_log)),
            ("ct-log-origin", "ct.lab".into()),
            ("ct-log-public-key-path", path("ct.pub")),
        ],
    );
    let log = part(
        &binaries.rekor,
        ["serve"],
        [
            ("http-port", port(&addresses.log)),
            ("grpc-port", log_grpc),
            ("http-metrics-port", log_metrics),
            ("hostname", LOG.into()),
            ("signer-filepath", path("rekor.key")),
            ("storage-dir", path("rekor")),
            ("checkpoint-interval", "200ms".into()),
            ("batch-max-age", "20ms".into()),
        ],
    );
    let timestamps = part(
        &binaries.timestamp_authority,
        ["serve"],
        [
            ("host", "127.0.0.1".into()),
            ("port", port(&addresses.timestamps)),
            ("timestamp-signer", "file".into()),
            ("file-signer-key-path", path("tsa.key")),
            ("certificate-chain-path", path("tsa.chain")),
            ("disable-ntp-monitoring", "true".into()),
        ],
    );
    [
        ("openid-provider", issuer, addresses.issuer.clone()),
        ("certificate-log", certificate_log, addresses.certificate_log.clone()),
        ("rekor", log, addresses.log.clone()),
        ("timestamp-authority", timestamps, addresses.timestamps.clone()),
        ("fulcio", certificates, addresses.certificates.clone()),
    ]
}

/// Fulcio's configuration: which issuers it believes, and which claims become which extensions
/// (the mapping is that of the public Fulcio for GitHub).
pub(super) fn fulcio_config(addresses: &Addresses) -> String {
    let issuer = |name: &str| format!("http://{}/{name}", addresses.issuer);
    let people =
        |name: &str| json!({"IssuerURL": issuer(name), "ClientID": "sigstore", "Type": "email"});
    let templates = json!({
        "GithubWorkflowTrigger": "event_name",
        "GithubWorkflowSHA": "sha",
        "GithubWorkflowName": "workflow",
        "GithubWorkflowRepository": "repository",
        "GithubWorkflowRef": "ref",
        "BuildSignerURI": "{{ .url }}/{{ .job_workflow_ref }}",
        "BuildSignerDigest": "job_workflow_sha",
        "RunnerEnvironment": "runner_environment",
        "SourceRepositoryURI": "{{ .url }}/{{ .repository }}",
        "SourceRepositoryDigest": "sha",
        "SourceRepositoryRef": "ref",
        "SourceRepositoryIdentifier": "repository_id",
        "SourceRepositoryOwnerURI": "{{ .url }}/{{ .repository_owner }}",
        "SourceRepositoryOwnerIdentifier": "repository_owner_id",
        "BuildConfigURI": "{{ .url }}/{{ .workflow_ref }}",
        "BuildConfigDigest": "workflow_sha",
        "BuildTrigger": "event_name",
        "RunInvocationURI": "{{ .url }}/{{ .repository }}/runs/{{ .run_id }}/attempts/{{ .run_attempt }}",
        "SourceRepositoryVisibilityAtSigning": "repository_visibility",
    });
    json!({
        "OIDCIssuers": {
            issuer("people"): people("people"),
            issuer("partners"): people("partners"),
            issuer("ci"): {
                "IssuerURL": issuer("ci"), "ClientID": "sigstore",
                "Type": "ci-provider", "CIProvider": "forge",
            },
        },
        "CIIssuerMetadata": {
            "forge": {
                "DefaultTemplateValues": {"url": FORGE},
                "ExtensionTemplates": templates,
                "SubjectAlternativeNameTemplate": "{{ .url }}/{{ .job_workflow_ref }}",
            },
        },
    })
    .to_string()
}

fn port(address: &str) -> String {
    address.rsplit(':').next().unwrap_or_default().to_owned()
}
