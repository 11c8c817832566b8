//! The programs of a lab and their command lines, and waiting until they answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::binaries::{Binaries, go_module_folder, repository_root};
use crate::error::LabError;
use crate::supervisor::{self, Part};

/// How long a part may take to answer; generous, because builds may run beside it.
const DEADLINE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// Only nodes with this annotation are pretended; a real node may stand beside them.
pub(crate) const FAKE_NODE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// Stages of the kwok module itself: nodes that become ready, pods that run, complete or fail.
const STAGES: [&str; 7] = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
    "pod/chaos/pod-container-running-failed.yaml",
    "pod/chaos/pod-init-container-running-failed.yaml",
];

/// Stages of this repository, for controllers that are not there.
const OWN_STAGES: [&str; 2] = ["cloudnative-pg.yaml", "horizontal-pod-autoscaler.yaml"];

/// Where the parts of one lab listen.
pub(crate) struct Addresses {
    pub(crate) etcd: String,
    etcd_peer: String,
    api_port: u16,
    pub(crate) api_server: String,
    pub(crate) registry: String,
    registry_inside: String,
    pub(crate) git: String,
}

impl Addresses {
    pub(crate) fn new(ports: [u16; 6]) -> Self {
        let [etcd, etcd_peer, api_port, registry, registry_inside, git] = ports;
        let address = |port: u16| format!("127.0.0.1:{port}");
        Self {
            etcd: address(etcd),
            etcd_peer: address(etcd_peer),
            api_port,
            api_server: format!("https://127.0.0.1:{api_port}"),
            registry: address(registry),
            registry_inside: address(registry_inside),
            git: address(git),
        }
    }
}

/// Every part by its name.
pub(crate) fn all(
    folder: &Path,
    binaries: &Binaries,
    addresses: &Addresses,
) -> Result<BTreeMap<String, Part>, LabError> {
    let mut parts = control_plane(folder, &binaries.control_plane, addresses);
    parts.insert("kwok".into(), kwok(folder, &binaries.kwok)?);
    parts.insert(
        "registry".into(),
        part(&binaries.registry, [], [("address", addresses.registry_inside.clone())]),
    );
    parts.insert(
        "registry-port".into(),
        part(
            &binaries.labd,
            ["forward"],
            [("listen", addresses.registry.clone()), ("to", addresses.registry_inside.clone())],
        ),
    );
    parts.insert(
        "git".into(),
        part(
            &binaries.labd,
            ["git"],
            [("root", text(&folder.join("git"))), ("listen", addresses.git.clone())],
        ),
    );
    Ok(parts)
}

fn control_plane(folder: &Path, program: &Path, addresses: &Addresses) -> BTreeMap<String, Part> {
    let pki = |name: &str| text(&folder.join("pki").join(name));
    let etcd = part(
        program,
        ["etcd"],
        [
            ("data-dir", text(&folder.join("etcd"))),
            ("listen-client", format!("http://{}", addresses.etcd)),
            ("listen-peer", format!("http://{}", addresses.etcd_peer)),
        ],
    );
    let api_server = part(
        program,
        ["kube-apiserver"],
        [
            ("etcd-servers", format!("http://{}", addresses.etcd)),
            ("bind-address", "127.0.0.1".into()),
            ("secure-port", addresses.api_port.to_string()),
            ("authorization-mode", "Node,RBAC".into()),
            ("endpoint-reconciler-type", "none".into()),
            ("service-cluster-ip-range", "10.0.0.0/24".into()),
            ("service-account-issuer", "https://kubernetes.default.svc".into()),
            ("service-account-key-file", pki("sa.pub")),
            ("service-account-signing-key-file", pki("sa.key")),
            ("client-ca-file", pki("ca.crt")),
            ("tls-cert-file", pki("server.crt")),
            ("tls-private-key-file", pki("server.key")),
            ("cert-dir", pki("")),
            ("allow-privileged", "true".into()),
        ],
    );
    let person = |name: &str| text(&kubeconfig(folder, name));
    let controllers = person("system:kube-controller-manager");
    let controller_manager = part(
        program,
        ["kube-controller-manager"],
        [
            ("kubeconfig", controllers.clone()),
            ("authentication-kubeconfig", controllers.clone()),
            ("authorization-kubeconfig", controllers),
            ("service-account-private-key-file", pki("sa.key")),
            ("root-ca-file", pki("ca.crt")),
            // A Stage stands in for it: pretended pods have no metrics.
            ("controllers", "*,-horizontal-pod-autoscaler-controller".into()),
            ("use-service-account-credentials", "true".into()),
            ("leader-elect", "false".into()),
            ("secure-port", "0".into()),
            ("kube-api-qps", "300".into()),
            ("kube-api-burst", "600".into()),
        ],
    );
    let scheduling = person("system:kube-scheduler");
    let scheduler = part(
        program,
        ["kube-scheduler"],
        [
            ("kubeconfig", scheduling.clone()),
            ("authentication-kubeconfig", scheduling.clone()),
            ("authorization-kubeconfig", scheduling),
            ("leader-elect", "false".into()),
            ("secure-port", "0".into()),
            ("kube-api-qps", "300".into()),
            ("kube-api-burst", "600".into()),
        ],
    );
    [
        ("etcd", etcd),
        ("kube-apiserver", api_server),
        ("kube-controller-manager", controller_manager),
        ("kube-scheduler", scheduler),
    ]
    .map(|(name, part)| (name.to_owned(), part))
    .into()
}

fn kwok(folder: &Path, program: &Path) -> Result<Part, LabError> {
    let stages = go_module_folder("sigs.k8s.io/kwok@v0.8.0")?.join("kustomize/stage");
    let mut kwok = part(
        program,
        [],
        [
            ("kubeconfig", text(&kubeconfig(folder, "admin"))),
            ("manage-all-nodes", "false".into()),
            ("manage-nodes-with-annotation-selector", format!("{}={}", FAKE_NODE.0, FAKE_NODE.1)),
            ("node-lease-duration-seconds", "40".into()),
        ],
    );
    kwok.args.extend(STAGES.map(|stage| format!("--config={}", text(&stages.join(stage)))));
    let own = repository_root().join("tests/lab/stages");
    kwok.args.extend(OWN_STAGES.map(|stage| format!("--config={}", text(&own.join(stage)))));
    Ok(kwok)
}

/// Where the kubeconfig of a person lies.
pub(crate) fn kubeconfig(folder: &Path, name: &str) -> PathBuf {
    folder.join("people").join(format!("{}.kubeconfig", name.replace([':', '/'], "-")))
}

pub(crate) fn part<const C: usize, const F: usize>(
    program: &Path,
    command: [&str; C],
    flags: [(&str, String); F],
) -> Part {
    let mut args = vec![text(program)];
    args.extend(command.map(str::to_owned));
    args.extend(flags.map(|(name, value)| format!("--{name}={value}")));
    Part { args, env: Vec::new() }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Asks until the answer is yes; fails early when the part's process has ended.
pub(crate) fn wait(
    folder: &Path,
    part: &str,
    mut ask: impl FnMut() -> Result<(), String>,
) -> Result<(), LabError> {
    let started = Instant::now();
    loop {
        let Err(reason) = ask() else { return Ok(()) };
        let ended = supervisor::alive(folder, part).err().map(|error| error.to_string());
        if ended.is_some() || started.elapsed() > DEADLINE {
            return Err(LabError::NotReady {
                part: part.to_owned(),
                seconds: started.elapsed().as_secs(),
                reason: ended.unwrap_or(reason),
                log: end_of_log(folder, part),
            });
        }
        std::thread::sleep(PAUSE);
    }
}

fn end_of_log(folder: &Path, part: &str) -> String {
    let log =
        fs::read_to_string(folder.join("logs").join(format!("{part}.log"))).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Asks until there is an answer: how a test waits for what the cluster does in its own time.
///
/// # Errors
/// When there is none within the deadline; the error names what was awaited.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, LabError> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if started.elapsed() > within {
            return Err(LabError::NeverHappened {
                what: what.to_owned(),
                seconds: within.as_secs(),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
