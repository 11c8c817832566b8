//! One worker process: started confined, watched, and killed when dropped.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::error::RenderError;
use crate::limits::Limits;
use crate::protocol::{Protections, Reply, Request, VERSION, read_frame, write_frame};

/// How often resident memory is looked at while a worker works.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// How much of standard error is kept for the report of a crash.
const SAID_CHARS: usize = 300;

/// A running worker.
pub(crate) struct Worker {
    child: Child,
    pub(crate) pid: Option<u32>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    said: Arc<Mutex<String>>,
    pub(crate) protections: Protections,
    pub(crate) requests: u64,
}

impl Worker {
    /// Starts a worker and waits for its greeting.
    pub(crate) async fn start(
        program: &Path,
        limits: &Limits,
        path: &str,
    ) -> Result<Self, RenderError> {
        let failed = |source| RenderError::Start { worker: program.display().to_string(), source };
        let mut child = Command::new(program)
            .env_clear()
            .env("GOMEMLIMIT", (limits.memory_bytes / 4 * 3).to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::Error::other("a pipe is missing")));
        };
        let pid = child.id();
        let said = Arc::new(Mutex::new(String::new()));
        tokio::spawn(drain(stderr, pid, Arc::clone(&said)));
        let protections = Protections { no_new_privs: false, seccomp: false, landlock: 0 };
        let stdout = BufReader::with_capacity(64 << 10, stdout);
        let mut worker = Self { child, pid, stdin, stdout, said, protections, requests: 0 };
        match worker.receive(path).await?.hello {
            Some(hello) if hello.protocol == VERSION => worker.protections = hello.protections,
            _ => return Err(protocol(path, "it did not greet with this protocol's version")),
        }
        tracing::debug!(pid, protections = ?worker.protections, "render worker started");
        Ok(worker)
    }

    pub(crate) async fn send(
        &mut self,
        path: &str,
        request: &Request<'_>,
    ) -> Result<(), RenderError> {
        match write_frame(&mut self.stdin, request).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(path, &error).await),
        }
    }

    pub(crate) async fn receive(&mut self, path: &str) -> Result<Reply, RenderError> {
        match read_frame(&mut self.stdout).await {
            Ok(reply) => Ok(reply),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(protocol(path, &error.to_string()))
            }
            Err(error) => Err(self.ended(path, &error).await),
        }
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn ended(&mut self, path: &str, error: &std::io::Error) -> RenderError {
        let waited = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
        let status = match waited {
            Ok(Ok(status)) => status.to_string(),
            _ => error.to_string(),
        };
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
        RenderError::Crashed { path: path.to_owned(), status, said }
    }
}

fn protocol(path: &str, what: &str) -> RenderError {
    RenderError::Protocol { path: path.to_owned(), what: what.to_owned() }
}

/// Resident memory of a process in bytes; `None` when it is gone.
pub(crate) fn resident_bytes(pid: Option<u32>) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Ends when the process has more than `limit` bytes resident; else never.
pub(crate) async fn outgrown(pid: Option<u32>, limit: u64) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        if resident_bytes(pid).is_some_and(|bytes| bytes > limit) {
            return;
        }
    }
}

/// Logs what libraries print and keeps the last of it, or the head of a Go crash.
async fn drain(mut stderr: ChildStderr, pid: Option<u32>, said: Arc<Mutex<String>>) {
    let mut buffer = [0; 4096];
    let mut crashed = false;
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]);
        tracing::debug!(pid, text = %text.trim_end().escape_debug(), "render worker");
        if !crashed {
            let head = ["panic: ", "fatal error: "].iter().find_map(|mark| text.find(mark));
            crashed = head.is_some();
            let short = text[head.unwrap_or(0)..].chars().take(SAID_CHARS).collect();
            *said.lock().unwrap_or_else(PoisonError::into_inner) = short;
        }
    }
}
