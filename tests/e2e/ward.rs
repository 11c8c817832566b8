//! A small pipeline of its own for each test, beside those of other tests: one environment, the
//! lanes `security` and `app`, plain YAML. One lab and one service serve them all, so that every
//! test also shows that what is wrong in one pipeline disturbs no other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_harness::Lab;
use tidegate_harness::story::{Cluster, Service, condition, documents, install, until};

const PATIENCE: Duration = Duration::from_mins(2);
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "what the forge and the engine know";

/// The lab and the service that tests share.
pub struct Hospital {
    pub lab: Lab,
    pub service: Service,
}

/// Starts them for the first test that asks.
pub fn hospital() -> &'static Hospital {
    static HOSPITAL: OnceLock<Hospital> = OnceLock::new();
    HOSPITAL.get_or_init(|| {
        let lab = Lab::start_fresh().unwrap();
        let cluster = Cluster::open(&lab.kubeconfig()).unwrap();
        install(&cluster, program()).unwrap();
        let class = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EnvironmentClass",
            "metadata": {"name": "dev"},
            "spec": {"lanes": {"*": {"watch": {"for": "1s"}, "deadline": "30s"}}},
        });
        cluster.apply(&class).unwrap();
        let tokens = tokens(&lab);
        let module = ["--pkcs11-module".to_owned(), SOFTHSM.to_owned()];
        let service = Service::start_with(&lab, program(), &module, &[tokens]).unwrap();
        Hospital { lab, service }
    })
}

/// The place of tokens in software, as the library is told of it.
fn tokens(lab: &Lab) -> String {
    let (folder, conf) = (lab.folder().join("tokens"), lab.folder().join("softhsm2.conf"));
    std::fs::create_dir(&folder).unwrap();
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.display());
    std::fs::write(&conf, text).unwrap();
    format!("SOFTHSM2_CONF={}", conf.display())
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tidegate"))
}

/// One pipeline, in the namespace of its name.
pub struct Ward {
    pub name: String,
    pub cluster: Cluster,
    hospital: &'static Hospital,
}

/// What a ward can be made with.
pub struct Plan<'a> {
    pub name: &'a str,
    /// More of the Pipeline's spec.
    pub pipeline: Value,
    /// The password that Git asks for, and the one that the engine has.
    pub passwords: Option<(&'a str, &'a str)>,
}

pub const ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: nurse}
automountServiceAccountToken: false
";

pub const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {shift: night}
";

impl Ward {
    /// A pipeline whose security lane is sound and whose app lane has these files.
    pub fn with_app(name: &str, files: &[(&str, &str)]) -> Self {
        let ward = Self::plan(&Plan { name, pipeline: json!({}), passwords: None });
        ward.commit(files);
        ward
    }

    /// A pipeline with a sound security lane.
    pub fn plan(plan: &Plan<'_>) -> Self {
        let hospital = hospital();
        let cluster = Cluster::open(&hospital.lab.kubeconfig()).unwrap();
        let access = plan.passwords.map(|(asked, _)| ("tidegate", asked));
        let url = hospital.lab.create_repo(plan.name, access).unwrap();
        let ward = Self { name: plan.name.to_owned(), cluster, hospital };
        ward.hospital
            .lab
            .commit(plan.name, "main", &[("dev/security/nurse.yaml", Some(ACCOUNT))], "Begin")
            .unwrap();
        ward.apply("v1", "Namespace", plan.name, json!({}));
        ward.secret("git-webhook", &json!({"token": TOKEN}));
        let mut spec = json!({"url": url, "webhook": {"secret": "git-webhook"}});
        if let Some((_, held)) = plan.passwords {
            ward.secret("git-deploy", &json!({"username": "tidegate", "password": held}));
            spec["credentials"] = json!({"secret": "git-deploy"});
        }
        ward.apply("tidegate.dev/v1alpha1", "Repository", "source", json!({"spec": spec}));
        let pipeline = pipeline(&plan.pipeline);
        ward.apply("tidegate.dev/v1alpha1", "Pipeline", plan.name, json!({"spec": pipeline}));
        ward.bootstrap();
        ward
    }

    fn bootstrap(&self) {
        let output = Command::new(program())
            .arg("--kubeconfig")
            .arg(self.admin())
            .args(["--namespace", &self.name, "bootstrap", &self.name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for object in documents(&String::from_utf8_lossy(&output.stdout)).unwrap() {
            self.cluster.apply(&object).unwrap();
        }
    }

    fn admin(&self) -> PathBuf {
        self.hospital.lab.kubeconfig()
    }

    /// Git, asked on the server itself.
    pub fn git(&self, arguments: &[&str]) -> Option<String> {
        let folder = self.hospital.lab.git_dir(&self.name);
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    fn secret(&self, name: &str, data: &Value) {
        self.apply("v1", "Secret", name, json!({"stringData": data}));
    }

    fn apply(&self, api_version: &str, kind: &str, name: &str, rest: Value) {
        let mut object = rest;
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": name, "namespace": self.name});
        if kind == "Namespace" {
            object["metadata"] = json!({"name": name});
        }
        self.cluster.apply(&object).unwrap();
    }

    /// Pushes files, and tells the engine as a forge does.
    pub fn commit(&self, files: &[(&str, &str)]) {
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(*text))).collect();
        self.hospital.lab.commit(&self.name, "main", &files, "Change the ward").unwrap();
        let hook = self.hook();
        let answer = self.hospital.service.call_hook(&hook, TOKEN, "main").unwrap();
        assert_eq!(answer.code, 202, "{}", answer.body);
    }

    /// The path of the webhook.
    pub fn hook(&self) -> String {
        until("the Repository says where its webhook is", PATIENCE, || {
            let repository = self.object("repositories", "source");
            let hook = repository["status"]["hook"].as_str().map(str::to_owned);
            Ok(hook.ok_or_else(|| repository["status"].to_string()))
        })
        .unwrap()
    }

    pub fn object(&self, plural: &str, name: &str) -> Value {
        self.cluster.get(&self.path(plural, name)).unwrap()
    }

    pub fn path(&self, plural: &str, name: &str) -> String {
        format!("/apis/tidegate.dev/v1alpha1/namespaces/{}/{plural}/{name}", self.name)
    }

    /// Waits until a condition of an object is `False` and says all of this, and so does
    /// `tidegate explain`.
    pub fn says(&self, plural: &str, name: &str, kind: &str, words: &[&str]) {
        let message = until(&format!("{kind} of {name} says {words:?}"), PATIENCE, || {
            let object = self.object(plural, name);
            let (status, message) = condition(&object, kind);
            let told = status == "False" && words.iter().all(|word| message.contains(word));
            Ok(if told { Ok(message.to_owned()) } else { Err(format!("{status}: {message}")) })
        })
        .unwrap();
        let singular = plural
            .strip_suffix("ies")
            .map_or_else(|| plural.trim_end_matches('s').to_owned(), |stem| format!("{stem}y"));
        let explained = self.explain(&singular, name);
        for word in words {
            assert!(explained.contains(word), "{word:?} of {message:?} is not in:\n{explained}");
        }
    }

    /// What `tidegate explain` prints.
    pub fn explain(&self, kind: &str, name: &str) -> String {
        self.tidegate(&["explain", kind, name])
    }

    /// What a command prints that the administrator gives in the ward's namespace.
    pub fn tidegate(&self, arguments: &[&str]) -> String {
        let output = Command::new(program())
            .arg("--kubeconfig")
            .arg(self.admin())
            .args(["--namespace", &self.name])
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The security lane arrives, whatever the app lane does.
    pub fn security_goes_on(&self) {
        self.runs("serviceaccounts", "nurse");
    }

    /// Waits until an object of the core group runs in the target.
    pub fn runs(&self, plural: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{}-dev/{plural}/{name}", self.name);
        until(&format!("{path} runs"), PATIENCE, || {
            let pipeline = self.object("pipelines", &self.name);
            Ok(match self.cluster.find(&path)? {
                Some(_) => Ok(()),
                None => Err(format!("it does not; {}", pipeline["status"]["conditions"])),
            })
        })
        .unwrap();
    }
}

fn pipeline(more: &Value) -> Value {
    let mut spec = json!({
        "source": {"repository": "source"},
        "environments": ["dev"],
        "lanes": [{"name": "security"}, {"name": "app"}],
        "path": "{environment}/{lane}",
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}
