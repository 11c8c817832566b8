//! A pool of workers, started when needed and kept while they behave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::conversation::{self, Ended};
use crate::error::{Fault, FaultKind, RenderError};
use crate::limits::Limits;
use crate::protocol::{Probe, Protections};
use crate::snapshot::{Closure, Files};
use crate::worker::{Worker, outgrown, resident_bytes};

/// How a folder is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With kustomize if the folder has a kustomization file, else as plain manifests.
    Auto,
    /// Every `.yaml`, `.yml` and `.json` file in the folder and below.
    Plain,
    /// What `kustomize build` prints.
    Kustomize,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Kustomize => "kustomize",
        }
    }
}

/// The result of a render.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The objects, in kustomize's order, or that of the files' paths. The same input gives the
    /// same objects in the same order.
    pub objects: Vec<serde_json::Value>,
    /// What the render depends on.
    pub closure: Closure,
}

/// How a worker's self-test went.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// What the worker set up.
    pub protections: Protections,
    /// What it tried, and how that went.
    pub probes: Vec<Probe>,
}

/// A pool of render workers.
pub struct Renderer {
    program: PathBuf,
    limits: Limits,
    unconfined: bool,
    slots: Semaphore,
    idle: Mutex<Vec<Worker>>,
}

impl Renderer {
    /// A pool of at most `size` processes of the program `worker`; as many as there are cores is
    /// right. None is started before the first render.
    #[must_use]
    pub fn new(worker: PathBuf, size: usize) -> Self {
        Self {
            program: worker,
            limits: Limits::default(),
            unconfined: false,
            slots: Semaphore::new(size.max(1)),
            idle: Mutex::default(),
        }
    }

    /// Sets the limits of each render.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Renders even where the kernel gives a worker no seccomp filter. For development on such a
    /// machine only.
    #[must_use]
    pub fn allow_unconfined(mut self) -> Self {
        self.unconfined = true;
        self
    }

    /// Renders the folder `path` of a snapshot; `""` and `"."` are its root. Waits for a free
    /// worker; the deadline counts from there.
    ///
    /// # Errors
    /// [`RenderError::Refused`] for what the repository holds; see [`RenderError`] for the rest.
    pub async fn render(
        &self,
        files: Arc<dyn Files>,
        path: &str,
        kind: Kind,
    ) -> Result<Rendered, RenderError> {
        let path = folder(path)?;
        let _slot = self.slots.acquire().await.ok();
        let deadline = self.limits.deadline;
        match tokio::time::timeout(deadline, self.render_watched(files, &path, kind)).await {
            Ok(Ok(Ok(rendered))) => Ok(rendered),
            Ok(Ok(Err(fault))) => Err(RenderError::Refused { path, fault }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RenderError::Deadline { path, deadline }),
        }
    }

    /// Has one worker try what it must not be able to do. `readable` is a file that this process
    /// can read, such as its token.
    ///
    /// # Errors
    /// When no worker can be started or it does not answer.
    pub async fn self_test(&self, readable: &Path) -> Result<SelfTest, RenderError> {
        let start =
            |source| RenderError::Start { worker: self.program.display().to_string(), source };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(start)?;
        let address = listener.local_addr().map_err(start)?.to_string();
        let deadline = self.limits.deadline;
        let test = async {
            let mut worker = Worker::start(&self.program, &self.limits, "").await?;
            let read = readable.to_string_lossy();
            let probes = conversation::probe(&mut worker, &read, &address).await?;
            Ok(SelfTest { protections: worker.protections, probes })
        };
        let late = |_| RenderError::Deadline { path: String::new(), deadline };
        tokio::time::timeout(deadline, test).await.map_err(late)?
    }

    /// The worker is owned here: a cancelled, failed or late render drops and thereby kills it.
    async fn render_watched(
        &self,
        files: Arc<dyn Files>,
        path: &str,
        kind: Kind,
    ) -> Result<Ended, RenderError> {
        let mut worker = self.take(path).await?;
        let (pid, limit) = (worker.pid, self.limits.memory_bytes);
        let memory = || RenderError::Memory { path: path.to_owned(), limit };
        let ended = tokio::select! {
            ended = conversation::render(&mut worker, files, path, kind, &self.limits) => ended,
            () = outgrown(pid, limit) => return Err(memory()),
        };
        match ended {
            Err(RenderError::Crashed { said, .. }) if said.contains("cannot allocate memory") => {
                Err(memory())
            }
            Err(error) => Err(error),
            Ok(ended) => {
                self.give_back(worker);
                Ok(ended)
            }
        }
    }

    async fn take(&self, path: &str) -> Result<Worker, RenderError> {
        while let Some(mut worker) = self.pop() {
            if worker.is_alive() {
                return Ok(worker);
            }
        }
        let worker = Worker::start(&self.program, &self.limits, path).await?;
        let missing = worker.protections.missing();
        if missing.is_empty() || self.unconfined {
            return Ok(worker);
        }
        Err(RenderError::Unconfined { missing })
    }

    fn pop(&self) -> Option<Worker> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a worker for the next render, unless it is on its way to the memory limit.
    fn give_back(&self, worker: Worker) {
        if resident_bytes(worker.pid).is_some_and(|bytes| bytes < self.limits.memory_bytes / 2) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
    }
}

/// A folder as people write it, relative to the repository's root.
fn folder(path: &str) -> Result<String, RenderError> {
    let names: Vec<_> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        let message = "a path is relative to the repository's root and has no `..`".to_owned();
        let fault = Fault { kind: FaultKind::Escape, message, file: None, line: None };
        return Err(RenderError::Refused { path: path.to_owned(), fault });
    }
    Ok(names.join("/"))
}
