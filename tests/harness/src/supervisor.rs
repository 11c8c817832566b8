//! The process that owns a lab's processes and folder (`labd supervise`).
//!
//! Whoever starts a lab holds a pipe to its supervisor; when the pipe closes, for whatever reason,
//! the lab is taken down. Orders go over a socket in the lab's folder, so that a test that was only
//! handed the lab's description can stop and start parts, too.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// A program of the lab with its arguments: what the supervisor starts, and starts again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
}

/// Held by the process that started the lab; dropping it ends the lab.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Child,
}

impl Supervisor {
    /// Starts a supervisor in its own process group, so that ^C reaches only its starter.
    pub(crate) fn start(labd: &Path, folder: &Path) -> Result<Self, LabError> {
        let failed = |reason: String| LabError::Supervisor { order: "start".into(), reason };
        let mut process = Command::new(labd)
            .arg("supervise")
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut ready = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output)
                .read_line(&mut ready)
                .map_err(|error| failed(error.to_string()))?;
        }
        if ready.trim() == "ready" {
            Ok(Self { process })
        } else {
            Err(failed("it ended at once".into()))
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Starts a part; its process id. A part that runs already is left alone.
pub(crate) fn start(folder: &Path, name: &str, part: &Part) -> Result<u32, LabError> {
    order(
        folder,
        &format!("start {name}"),
        &serde_json::json!({"do": "start", "name": name, "args": part.args, "env": part.env}),
    )
}

/// Ends a part and everything it started.
pub(crate) fn stop(folder: &Path, name: &str) -> Result<(), LabError> {
    order(folder, &format!("stop {name}"), &serde_json::json!({"do": "stop", "name": name}))
        .map(|_| ())
}

/// Ends a part's own process at once, by SIGKILL.
pub(crate) fn kill(folder: &Path, name: &str) -> Result<(), LabError> {
    order(folder, &format!("kill {name}"), &serde_json::json!({"do": "kill", "name": name}))
        .map(|_| ())
}

/// The process id of a part that runs.
pub(crate) fn alive(folder: &Path, name: &str) -> Result<u32, LabError> {
    order(folder, &format!("look for {name}"), &serde_json::json!({"do": "alive", "name": name}))
}

fn order(folder: &Path, what: &str, order: &serde_json::Value) -> Result<u32, LabError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        pid: u32,
        #[serde(default)]
        error: String,
    }
    let refused = |reason: String| LabError::Supervisor { order: what.to_owned(), reason };
    let exchange = || -> std::io::Result<Answer> {
        let mut socket = UnixStream::connect(folder.join("control.sock"))?;
        writeln!(socket, "{order}")?;
        Ok(serde_json::from_reader(BufReader::new(socket))?)
    };
    let answer = exchange().map_err(|error| refused(format!("{error}; is the lab still up?")))?;
    if answer.error.is_empty() { Ok(answer.pid) } else { Err(refused(answer.error)) }
}
