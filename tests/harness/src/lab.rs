//! Starting a lab and finding one that runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::binaries::{Binaries, cache_root};
use crate::error::{LabError, file};
use crate::parts::{self, Addresses};
use crate::supervisor::{self, Part, Supervisor};
use crate::{Sigstore, kubernetes, ports};

/// The environment variable that hands a running lab to tests: the path of its description.
pub const LAB_VARIABLE: &str = "TIDEGATE_LAB";

/// How often a lab is started anew when a part does not come up, as when its port was taken.
const ATTEMPTS: u32 = 3;

/// Everything needed to use a lab that another process started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// Holds everything of the lab; removed with it.
    pub folder: PathBuf,
    /// URL of the API server.
    pub api_server: String,
    /// `host:port` of the registry; plain HTTP.
    pub registry: String,
    /// URL of the Git server, without a trailing slash; plain HTTP.
    pub git: String,
    pub(crate) parts: BTreeMap<String, Part>,
    pub(crate) binaries: Binaries,
}

/// A running lab. The one who started it ends it by dropping it, or by ending in whatever way.
#[derive(Debug)]
pub struct Lab {
    pub(crate) description: Description,
    pub(crate) sigstore: OnceLock<Result<Sigstore, LabError>>,
    _supervisor: Option<Supervisor>,
}

impl Lab {
    /// The lab of this test process: the one described by `TIDEGATE_LAB`, else one started now.
    ///
    /// # Errors
    /// When no lab can be had; the error shows the log of the part that failed.
    pub fn attach_or_start() -> Result<&'static Self, LabError> {
        static LAB: OnceLock<Result<Lab, LabError>> = OnceLock::new();
        let lab = LAB.get_or_init(|| match std::env::var(LAB_VARIABLE) {
            Ok(path) if !path.is_empty() => Self::attach(Path::new(&path)),
            _ => Self::start_one_at_a_time(),
        });
        lab.as_ref().map_err(|error| LabError::NoLab(error.to_string()))
    }

    /// A lab of one's own, for tests that stop parts or crash the control plane.
    ///
    /// # Errors
    /// When a program cannot be built or a part does not become ready.
    pub fn start_fresh() -> Result<Self, LabError> {
        let binaries = Binaries::ensure()?;
        let mut attempt = 1;
        loop {
            match Self::start(&binaries) {
                Err(LabError::NotReady { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Labs of several test processes would starve each other while they start.
    fn start_one_at_a_time() -> Result<Self, LabError> {
        let root = cache_root();
        fs::create_dir_all(&root).map_err(file("creating the cache", &root))?;
        let path = root.join("lab.lock");
        let lock = File::create(&path).map_err(file("opening the lab's lock", &path))?;
        lock.lock().map_err(file("taking the lab's lock", &path))?;
        Self::start_fresh()
    }

    fn attach(description: &Path) -> Result<Self, LabError> {
        let unreadable =
            |error: String| LabError::Description(format!("{}: {error}", description.display()));
        let content = fs::read(description).map_err(|error| unreadable(error.to_string()))?;
        let description: Description =
            serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { description, sigstore: OnceLock::new(), _supervisor: None })
    }

    fn start(binaries: &Binaries) -> Result<Self, LabError> {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-lab-")
            .tempdir()
            .map_err(file("creating a folder in", &std::env::temp_dir()))?
            .keep();
        for name in ["logs", "pki", "people", "git", "images", "keys"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(file("creating", &path))?;
        }
        let supervisor = Supervisor::start(&binaries.labd, &folder)?;
        let addresses = Addresses::new(ports::free());
        let description = Description {
            api_server: addresses.api_server.clone(),
            registry: addresses.registry.clone(),
            git: format!("http://{}", addresses.git),
            parts: parts::all(&folder, binaries, &addresses)?,
            binaries: binaries.clone(),
            folder,
        };
        let lab = Self { description, sigstore: OnceLock::new(), _supervisor: Some(supervisor) };
        lab.bring_up(&addresses)?;
        let path = lab.description_file();
        let content = serde_json::to_vec_pretty(&lab.description)
            .map_err(|error| LabError::Description(error.to_string()))?;
        fs::write(&path, content).map_err(file("writing", &path))?;
        Ok(lab)
    }

    fn bring_up(&self, addresses: &Addresses) -> Result<(), LabError> {
        for name in ["etcd", "registry", "registry-port", "git"] {
            self.start_part(name)?;
        }
        kubernetes::make_authority(self)?;
        self.wait_for_port("etcd", &addresses.etcd)?;
        self.start_part("kube-apiserver")?;
        kubernetes::wait_until_serving(self)?;
        self.start_part("kube-controller-manager")?;
        self.start_part("kube-scheduler")?;
        kubernetes::install_kinds(self)?;
        self.start_part("kwok")?;
        kubernetes::wait_until_schedulable(self)?;
        self.wait_for_port("registry", &addresses.registry)?;
        self.wait_for_port("git", &addresses.git)
    }

    /// The folder that holds everything of this lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.description.folder
    }

    /// What `TIDEGATE_LAB` is set to, to hand this lab to another process.
    #[must_use]
    pub fn description_file(&self) -> PathBuf {
        self.folder().join("lab.json")
    }

    /// `host:port` of the registry; plain HTTP.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.description.registry
    }

    /// URL of the API server.
    #[must_use]
    pub fn api_server(&self) -> &str {
        &self.description.api_server
    }

    /// Path of the render worker's program.
    #[must_use]
    pub fn worker(&self) -> &Path {
        &self.description.binaries.worker
    }

    /// All programs of the lab.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.description.binaries
    }

    /// Makes the registry unreachable; it keeps what it holds.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop_registry(&self) -> Result<(), LabError> {
        supervisor::stop(self.folder(), "registry-port")
    }

    /// Makes the registry reachable again, at the same address.
    ///
    /// # Errors
    /// When it is not reachable before the deadline.
    pub fn start_registry(&self) -> Result<(), LabError> {
        self.start_part("registry-port")?;
        self.wait_for_port("registry-port", self.registry())
    }

    /// Stops the Git server; the repositories stay on disk.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop_git(&self) -> Result<(), LabError> {
        supervisor::stop(self.folder(), "git")
    }

    /// Starts the Git server again, at the same address.
    ///
    /// # Errors
    /// When it is not reachable before the deadline.
    pub fn start_git(&self) -> Result<(), LabError> {
        self.start_part("git")?;
        self.wait_for_port("git", self.description.git.trim_start_matches("http://"))
    }

    /// Stops the API server; etcd keeps its state. Only in a lab of one's own.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop_api_server(&self) -> Result<(), LabError> {
        supervisor::stop(self.folder(), "kube-apiserver")
    }

    /// Starts the API server again, at the same address, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve before the deadline.
    pub fn start_api_server(&self) -> Result<(), LabError> {
        self.start_part("kube-apiserver")?;
        kubernetes::wait_until_serving(self)
    }

    fn start_part(&self, name: &str) -> Result<(), LabError> {
        let part = self.description.parts.get(name).ok_or_else(|| LabError::Supervisor {
            order: format!("start {name}"),
            reason: "the lab has no such part".into(),
        })?;
        supervisor::start(self.folder(), name, part).map(|_| ())
    }

    fn wait_for_port(&self, part: &str, address: &str) -> Result<(), LabError> {
        parts::wait(self.folder(), part, || {
            std::net::TcpStream::connect(address).map(|_| ()).map_err(|error| error.to_string())
        })
    }
}
