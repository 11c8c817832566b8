//! The lab's cluster: its people, foreign kinds, nodes, and when it is ready.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::{Method, Request};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::Lab;
use crate::binaries::go_module_folder;
use crate::error::{LabError, file, run};
use crate::parts::{self, FAKE_NODE, kubeconfig};

/// Kinds of operators that the reference environment uses, from the operators' own modules.
const FOREIGN_KINDS: [(&str, &str); 3] = [
    (
        "github.com/cloudnative-pg/cloudnative-pg@v1.30.0",
        "config/crd/bases/postgresql.cnpg.io_clusters.yaml",
    ),
    (
        "github.com/cloudnative-pg/cloudnative-pg@v1.30.0",
        "config/crd/bases/postgresql.cnpg.io_imagecatalogs.yaml",
    ),
    ("github.com/traefik/traefik/v3@v3.7.13", "integration/fixtures/k8s/01-traefik-crd.yml"),
];
const FOREIGN_NAMES: [&str; 5] = [
    "clusters.postgresql.cnpg.io",
    "imagecatalogs.postgresql.cnpg.io",
    "ingressroutes.traefik.io",
    "middlewares.traefik.io",
    "tlsoptions.traefik.io",
];
/// The one that kwok reads the schema of: it ends when the schema is not published yet.
const STAGED_SCHEMA: &str = "apis/postgresql.cnpg.io/v1";
const NODES: [&str; 2] = ["fake-1", "fake-2"];
const KINDS_PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TOKEN_SECONDS: u32 = 24 * 3600;

impl Lab {
    /// Path of the cluster administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(self.folder(), "admin")
    }

    /// The kubeconfig of a person: an own client certificate with this user name and groups. Asked
    /// again for the same name, it makes a new certificate with the groups given then.
    ///
    /// # Errors
    /// When the lab's folder cannot be written.
    pub fn person(&self, name: &str, groups: &[&str]) -> Result<PathBuf, LabError> {
        let out = kubeconfig(self.folder(), name);
        let mut command = Command::new(&self.description.binaries.labd);
        command.args(["person", "--server", self.api_server(), "--cn", name]);
        command.args(groups.iter().flat_map(|group| ["--org", *group]));
        command.arg("--authority").arg(self.folder().join("pki")).arg("--out").arg(&out);
        run(format!("making a certificate for {name}"), &mut command)?;
        Ok(out)
    }

    /// The kubeconfig of a service account that exists, with a token for a day.
    ///
    /// # Errors
    /// When there is no such service account.
    pub fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, LabError> {
        let doing = format!("requesting a token for the service account {namespace}/{name}");
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS},
        });
        let answer = self.call(&doing, Method::POST, &path, &body)?;
        let config_path = self.kubeconfig();
        let content = fs::read(&config_path).map_err(file("reading", &config_path))?;
        let mut config: Value =
            serde_json::from_slice(&content).map_err(|error| LabError::cluster(&doing, error))?;
        config["users"][0]["user"] = json!({"token": answer["status"]["token"]});
        let out = kubeconfig(self.folder(), &format!("serviceaccount:{namespace}:{name}"));
        fs::write(&out, config.to_string()).map_err(file("writing", &out))?;
        Ok(out)
    }

    /// A client for a kubeconfig of this lab. Make one in each test: a client belongs to the
    /// runtime it was made in.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(kubeconfig: &Path) -> Result<Client, LabError> {
        let doing = || format!("making a client from {}", kubeconfig.display());
        let config =
            Kubeconfig::read_from(kubeconfig).map_err(|error| LabError::cluster(doing(), error))?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .map_err(|error| LabError::cluster(doing(), error))?;
        Client::try_from(config).map_err(|error| LabError::cluster(doing(), error))
    }

    /// One request to the API server as the administrator.
    fn call(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, LabError> {
        self.send(doing, method, path, "application/json", body.to_string())
    }

    fn send(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Value, LabError> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| LabError::cluster(doing, error);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(body.into_bytes())
            .map_err(|error| failed(error.into()))?;
        let kubeconfig = self.kubeconfig();
        let answer = apart(async {
            let client = Self::client(&kubeconfig).await?;
            client.request_text(request).await.map_err(|error| failed(error.into()))
        })?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
    }
}

/// Runs a future on a thread and runtime of its own, so that callers may be in a runtime already.
pub(crate) fn apart<T: Send>(
    future: impl Future<Output = Result<T, LabError>> + Send,
) -> Result<T, LabError> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| LabError::cluster("starting a runtime", error))?
                    .block_on(future)
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The certificates of the cluster and of those who run it.
pub(crate) fn make_authority(lab: &Lab) -> Result<(), LabError> {
    let mut command = Command::new(&lab.description.binaries.labd);
    command.arg("authority").arg("--folder").arg(lab.folder().join("pki"));
    run("making the lab's certificate authority", &mut command)?;
    lab.person("admin", &["system:masters"])?;
    lab.person("system:kube-controller-manager", &[])?;
    lab.person("system:kube-scheduler", &[])?;
    Ok(())
}

/// Waits until the API server says that all its post-start hooks are done.
pub(crate) fn wait_until_serving(lab: &Lab) -> Result<(), LabError> {
    parts::wait(lab.folder(), "kube-apiserver", || {
        let answer = lab.call("asking for readiness", Method::GET, "/readyz", &Value::Null);
        answer.map(|_| ()).map_err(|error| error.to_string())
    })
}

/// Installs the foreign kinds and creates the pretended nodes.
pub(crate) fn install_kinds(lab: &Lab) -> Result<(), LabError> {
    for (module, path) in FOREIGN_KINDS {
        let path = go_module_folder(module)?.join(path);
        let content = fs::read_to_string(&path).map_err(file("reading", &path))?;
        for document in content.split("\n---").filter(|document| document.contains("kind:")) {
            let doing = format!("installing a kind of {module}");
            lab.send(&doing, Method::POST, KINDS_PATH, "application/yaml", document.to_owned())?;
        }
    }
    for name in NODES {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {FAKE_NODE.0: FAKE_NODE.1},
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            },
        });
        lab.call(&format!("creating the node {name}"), Method::POST, "/api/v1/nodes", &node)?;
    }
    for name in FOREIGN_NAMES {
        parts::wait(lab.folder(), "kube-apiserver", || {
            let kind = read(lab, &format!("{KINDS_PATH}/{name}"))?;
            has_condition(&kind, "Established").then_some(()).ok_or(format!("{name} is not served"))
        })?;
    }
    parts::wait(lab.folder(), "kube-apiserver", || {
        let published = !read(lab, "/openapi/v3")?["paths"][STAGED_SCHEMA].is_null();
        published.then_some(()).ok_or(format!("the schema of {STAGED_SCHEMA} is not published"))
    })
}

/// Waits until pods can be created and scheduled: nodes ready, default service account made.
pub(crate) fn wait_until_schedulable(lab: &Lab) -> Result<(), LabError> {
    for name in NODES {
        parts::wait(lab.folder(), "kwok", || {
            let node = read(lab, &format!("/api/v1/nodes/{name}"))?;
            let free = node["spec"]["taints"].as_array().is_none_or(Vec::is_empty);
            (free && has_condition(&node, "Ready"))
                .then_some(())
                .ok_or(format!("{name} is not ready"))
        })?;
    }
    parts::wait(lab.folder(), "kube-controller-manager", || {
        read(lab, "/api/v1/namespaces/default/serviceaccounts/default").map(|_| ())
    })?;
    parts::wait(lab.folder(), "kube-scheduler", || Ok(()))
}

fn read(lab: &Lab, path: &str) -> Result<Value, String> {
    lab.call("reading", Method::GET, path, &Value::Null).map_err(|error| error.to_string())
}

fn has_condition(object: &Value, name: &str) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == name && condition["status"] == "True")
    })
}
