//! Why there is no render. [`RenderError::Refused`] is for the author of the repository; the
//! others are for the operator, and all but `Unconfined` may pass by themselves.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a render failed.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The repository holds something that cannot or may not be rendered.
    #[error("rendering {path:?}: {fault}")]
    Refused {
        /// The folder that was to be rendered.
        path: String,
        /// What is wrong, and where.
        fault: Fault,
    },
    /// The snapshot could not be read.
    #[error("rendering {path:?}: reading {entry:?} from the snapshot: {message}")]
    Snapshot {
        /// The folder that was to be rendered.
        path: String,
        /// The path that could not be read.
        entry: String,
        /// What the snapshot said.
        message: String,
    },
    /// No result within the deadline; the worker was ended.
    #[error(
        "rendering {path:?} took longer than {}; the worker was ended. Split the folder, or raise the deadline",
        seconds(*.deadline)
    )]
    Deadline {
        /// The folder that was to be rendered.
        path: String,
        /// The deadline that passed.
        deadline: Duration,
    },
    /// The worker grew over the memory limit and was ended.
    #[error(
        "rendering {path:?} took more than {} MiB of memory; the worker was ended. Look for YAML aliases that multiply, or split the folder",
        limit >> 20
    )]
    Memory {
        /// The folder that was to be rendered.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The worker ended by itself.
    #[error("rendering {path:?}: the worker ended without an answer ({status}): {said}")]
    Crashed {
        /// The folder that was to be rendered.
        path: String,
        /// How it ended.
        status: String,
        /// The last of what it wrote to standard error.
        said: String,
    },
    /// The worker could not be started.
    #[error(
        "starting the render worker {worker}: {source}; is it installed beside the engine and executable?"
    )]
    Start {
        /// The program.
        worker: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The worker runs without a protection that is required.
    #[error(
        "the render worker is not confined ({missing} could not be set up), so nothing is rendered; run on a Linux kernel and container runtime that allow seccomp filters"
    )]
    Unconfined {
        /// The protections that are missing.
        missing: String,
    },
    /// The worker does not keep to the protocol.
    #[error(
        "rendering {path:?}: the worker broke the protocol ({what}); it must be of the engine's version"
    )]
    Protocol {
        /// The folder that was to be rendered.
        path: String,
        /// What it did.
        what: String,
    },
}

impl RenderError {
    /// Whether only a new commit can help: the same snapshot is refused again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

/// What is wrong with what the repository holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The sort of fault.
    pub kind: FaultKind,
    /// What is wrong and the way out, in one line.
    pub message: String,
    /// The file, relative to the repository, where known.
    #[serde(default)]
    pub file: Option<String>,
    /// The line in that file, from 1, where known.
    #[serde(default)]
    pub line: Option<u32>,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(out, "{file}:{line}: ")?,
            (Some(file), None) => write!(out, "{file}: ")?,
            _ => {}
        }
        out.write_str(&self.message)
    }
}

/// The sort of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// A path that the repository does not have.
    NotFound,
    /// A file that is not valid YAML or JSON.
    Yaml,
    /// An object that is defined twice.
    Duplicate,
    /// A path that leaves the repository.
    Escape,
    /// A remote base, file or patch.
    Remote,
    /// A feature that a render never uses.
    Unsupported,
    /// Too large, too many or too deep.
    Limit,
    /// Anything else that is not a valid kustomization or object.
    Invalid,
}
