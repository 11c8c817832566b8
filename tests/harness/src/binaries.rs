//! The lab's programs, built from pinned Go modules and kept outside the checkout.
//!
//! A cold build of Kubernetes takes minutes, so a clean clone must find the last one again: each
//! program lives in the cache under the hash of the sources and the build flags that made it. A
//! lock lets one process build; a rename puts the result in place whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::{LabError, file, run};

/// Paths of all programs a lab runs, and of the product's render worker.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Binaries {
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler; the first argument chooses.
    pub control_plane: PathBuf,
    /// The pretended nodes and operators.
    pub kwok: PathBuf,
    /// The registry.
    pub registry: PathBuf,
    /// A client for registries.
    pub crane: PathBuf,
    /// Signs and verifies images.
    pub cosign: PathBuf,
    /// Supervisor, Git server and certificates.
    pub labd: PathBuf,
    /// The product's render worker.
    pub worker: PathBuf,
}

/// Paths of the programs of the private Sigstore.
#[derive(Clone, Debug)]
pub(crate) struct SigstoreBinaries {
    pub(crate) fulcio: PathBuf,
    pub(crate) certificate_log: PathBuf,
    pub(crate) rekor: PathBuf,
    pub(crate) timestamp_authority: PathBuf,
}

impl SigstoreBinaries {
    /// Builds what the cache does not hold.
    pub(crate) fn ensure() -> Result<Self, LabError> {
        Ok(Self {
            fulcio: ensure(&FULCIO)?,
            certificate_log: ensure(&CERTIFICATE_LOG)?,
            rekor: ensure(&REKOR)?,
            timestamp_authority: ensure(&TIMESTAMP_AUTHORITY)?,
        })
    }
}

/// Where a patched module's source lies while it is built.
const PATCHED: &str = "patched";

struct Program {
    name: &'static str,
    /// Folder of the Go module, from the repository root.
    module: &'static str,
    package: &'static str,
    link: &'static str,
    patch: Option<Patch>,
}

/// A text in a program's own source that is built as another: metrics are served at every address
/// of the machine and no flag says otherwise, but the lab is on loopback alone.
struct Patch {
    module: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const KUBERNETES_VERSION: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

const CONTROL_PLANE: Program = Program {
    name: "control-plane",
    module: "tests/lab/control-plane",
    package: ".",
    link: KUBERNETES_VERSION,
    patch: None,
};
const KWOK: Program = Program {
    name: "kwok",
    module: "tests/lab/control-plane",
    package: "sigs.k8s.io/kwok/cmd/kwok",
    link: "-s -w",
    patch: None,
};
const REGISTRY: Program = Program {
    name: "registry",
    module: "tests/lab/registry",
    package: ".",
    link: "-s -w",
    patch: None,
};
const CRANE: Program = Program {
    name: "crane",
    module: "tests/lab/registry",
    package: "github.com/google/go-containerregistry/cmd/crane",
    link: "-s -w",
    patch: None,
};
const COSIGN: Program = Program {
    name: "cosign",
    module: "tests/lab/cosign",
    package: "github.com/sigstore/cosign/v3/cmd/cosign",
    link: "-s -w",
    patch: None,
};
const FULCIO: Program = Program {
    name: "fulcio",
    module: "tests/lab/fulcio",
    package: "github.com/sigstore/fulcio",
    link: "-s -w",
    patch: Some(Patch {
        module: "github.com/sigstore/fulcio",
        file: "cmd/app/serve.go",
        from: r#"":%v", viper.GetString("metrics-port")"#,
        to: r#""127.0.0.1:%v", viper.GetString("metrics-port")"#,
    }),
};
const CERTIFICATE_LOG: Program = Program {
    name: "tesseract",
    module: "tests/lab/tesseract",
    package: "github.com/transparency-dev/tesseract/cmd/tesseract/posix",
    link: "-s -w",
    patch: None,
};
const REKOR: Program = Program {
    name: "rekor-tiles",
    module: "tests/lab/rekor-tiles",
    package: "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
    link: "-s -w",
    patch: None,
};
const TIMESTAMP_AUTHORITY: Program = Program {
    name: "timestamp-authority",
    module: "tests/lab/timestamp-authority",
    package: "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server",
    link: "-s -w",
    patch: Some(Patch {
        module: "github.com/sigstore/timestamp-authority/v2",
        file: "pkg/server/prometheus.go",
        from: r#"":2112""#,
        to: r#""127.0.0.1:0""#,
    }),
};
const KUBECTL: Program = Program {
    name: "kubectl",
    module: "tests/lab/kubectl",
    package: ".",
    link: KUBERNETES_VERSION,
    patch: None,
};
const LABD: Program =
    Program { name: "labd", module: "tests/lab/labd", package: ".", link: "-s -w", patch: None };
const WORKER: Program = Program {
    name: "render-worker",
    module: "reconciler/render/worker",
    package: ".",
    link: "-s -w",
    patch: None,
};

impl Binaries {
    /// Builds what the cache does not hold; the first time this takes minutes, then nothing.
    ///
    /// # Errors
    /// When Go is missing or a build fails.
    pub fn ensure() -> Result<Self, LabError> {
        Ok(Self {
            labd: ensure(&LABD)?,
            control_plane: ensure(&CONTROL_PLANE)?,
            kwok: ensure(&KWOK)?,
            registry: ensure(&REGISTRY)?,
            crane: ensure(&CRANE)?,
            cosign: ensure(&COSIGN)?,
            worker: ensure(&WORKER)?,
        })
    }

    /// The official kubectl, for tests and readers that type what the documentation says.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn kubectl() -> Result<PathBuf, LabError> {
        ensure(&KUBECTL)
    }

    /// Only the render worker, for tests that need no lab.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn worker() -> Result<PathBuf, LabError> {
        ensure(&WORKER)
    }
}

/// The root of this checkout.
#[must_use]
pub fn repository_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where built programs are kept: `$TIDEGATE_CACHE`, else `tidegate` in the user's cache folder.
#[must_use]
pub fn cache_root() -> PathBuf {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TIDEGATE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("tidegate")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/tidegate")))
        .unwrap_or_else(|| std::env::temp_dir().join("tidegate-cache"))
}

/// The folder of a Go module, as `path@version`, in Go's module cache; downloaded when missing.
///
/// # Errors
/// When Go is missing or the module cannot be had.
pub fn go_module_folder(module: &str) -> Result<PathBuf, LabError> {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", module]).current_dir(std::env::temp_dir());
    let doing = format!("fetching the Go module {module}");
    let answer = run(doing.clone(), &mut command)?;
    serde_json::from_str::<serde_json::Value>(&answer)
        .ok()
        .and_then(|value| value["Dir"].as_str().map(PathBuf::from))
        .ok_or_else(|| LabError::Command { doing, command: format!("{command:?}"), output: answer })
}

fn ensure(program: &Program) -> Result<PathBuf, LabError> {
    let module = repository_root().join(program.module);
    let folder = cache_root().join(format!("{}-{}", program.name, fingerprint(program, &module)?));
    let path = folder.join(program.name);
    if path.exists() {
        return Ok(path);
    }
    let root = cache_root();
    fs::create_dir_all(&root).map_err(file("creating the cache", &root))?;
    let lock_path = root.join("build.lock");
    let lock = File::create(&lock_path).map_err(file("opening the build lock", &lock_path))?;
    lock.lock().map_err(file("taking the build lock", &lock_path))?;
    if !path.exists() {
        build(program, &module, &folder)?;
    }
    Ok(path)
}

fn build(program: &Program, module: &Path, folder: &Path) -> Result<(), LabError> {
    eprintln!("building {} (once; later runs find it in {})", program.name, cache_root().display());
    let fresh = folder.with_extension("new");
    fs::create_dir_all(&fresh).map_err(file("creating", &fresh))?;
    let mut command = Command::new("go");
    command.arg("build");
    if let Some(patch) = &program.patch {
        command.arg("-modfile").arg(patched(patch, module, &fresh)?);
    }
    command
        .args(["-trimpath", "-buildvcs=false", "-ldflags", program.link, "-o"])
        .arg(fresh.join(program.name))
        .arg(program.package)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env_remove("GOFLAGS");
    run(format!("building {} for the lab", program.name), &mut command)?;
    if program.patch.is_some() {
        let source = fresh.join(PATCHED);
        fs::remove_dir_all(&source).map_err(file("removing", &source))?;
    }
    fs::rename(&fresh, folder).map_err(file("putting in place", folder))
}

/// A `go.mod` that takes a module from a copy with the patch in it.
fn patched(patch: &Patch, module: &Path, fresh: &Path) -> Result<PathBuf, LabError> {
    let doing = format!("patching {}", patch.module);
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", patch.module]).current_dir(module);
    let answer = run(doing.clone(), &mut download)?;
    let failed = |output: &str| LabError::Command {
        doing: doing.clone(),
        command: format!("{download:?}"),
        output: output.to_owned(),
    };
    let original: serde_json::Value =
        serde_json::from_str(&answer).map_err(|error| failed(&error.to_string()))?;
    let original = original["Dir"].as_str().ok_or_else(|| failed(&answer))?;
    let source = fresh.join(PATCHED);
    copy(Path::new(original), &source)?;
    let changed = source.join(patch.file);
    let text = fs::read_to_string(&changed).map_err(file("reading", &changed))?;
    if text.matches(patch.from).count() != 1 {
        return Err(failed(&format!("{} has {:?} not exactly once", patch.file, patch.from)));
    }
    // The cache's files are read-only.
    fs::remove_file(&changed).map_err(file("removing", &changed))?;
    fs::write(&changed, text.replace(patch.from, patch.to)).map_err(file("writing", &changed))?;
    let modules = source.join("lab.mod");
    for (name, as_) in [("go.mod", &modules), ("go.sum", &source.join("lab.sum"))] {
        fs::copy(module.join(name), as_).map_err(file("writing", as_))?;
    }
    let mut edit = Command::new("go");
    edit.args(["mod", "edit", "-replace"]);
    edit.arg(format!("{}={}", patch.module, source.display())).arg(&modules);
    run(doing.clone(), &mut edit)?;
    Ok(modules)
}

fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    fs::create_dir_all(to).map_err(file("creating", to))?;
    for entry in fs::read_dir(from).map_err(file("reading", from))? {
        let path = entry.map_err(file("reading", from))?.path();
        let copied = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &copied)?;
        } else {
            fs::copy(&path, &copied).map_err(file("copying", &path))?;
        }
    }
    Ok(())
}

/// A hash of everything in the module's folder and of how it is built.
fn fingerprint(program: &Program, module: &Path) -> Result<String, LabError> {
    let mut sources = BTreeMap::new();
    collect(module, &mut sources)?;
    let mut hash = Sha256::new();
    let patch = program.patch.as_ref().map(|patch| patch.to);
    for part in [program.package, program.link, std::env::consts::ARCH].into_iter().chain(patch) {
        hash.update(part);
        hash.update([0]);
    }
    for (path, content) in &sources {
        hash.update(path.strip_prefix(module).unwrap_or(path).to_string_lossy().as_bytes());
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    Ok(crate::images::hex(&hash.finalize())[..24].to_owned())
}

fn collect(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<(), LabError> {
    for entry in fs::read_dir(folder).map_err(file("reading the Go sources in", folder))? {
        let path = entry.map_err(file("reading the Go sources in", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "testdata" && !name.starts_with('.') {
                collect(&path, into)?;
            }
        } else if name.ends_with(".go") && !name.ends_with("_test.go")
            || name == "go.mod"
            || name == "go.sum"
        {
            let content = fs::read(&path).map_err(file("reading", &path))?;
            into.insert(path, content);
        }
    }
    Ok(())
}
