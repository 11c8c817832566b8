//! What can go wrong while a lab is built, started or used.

use std::path::PathBuf;

/// An error of the lab itself, never of the product under test.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program the lab runs could not be started or reported failure.
    #[error("{doing}: `{command}` failed: {output}")]
    Command {
        /// What the lab was doing.
        doing: String,
        /// The command line.
        command: String,
        /// What the program said.
        output: String,
    },
    /// A file or folder could not be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What the lab was doing.
        doing: &'static str,
        /// With which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The lab's supervisor refused an order or is gone.
    #[error("ordering the lab's supervisor to {order}: {reason}")]
    Supervisor {
        /// The order.
        order: String,
        /// Why it was not carried out.
        reason: String,
    },
    /// A part was not ready before its deadline.
    #[error(
        "{part} of the lab was not ready after {seconds} s: {reason}; the end of its log:\n{log}"
    )]
    NotReady {
        /// The part.
        part: String,
        /// The deadline in seconds.
        seconds: u64,
        /// The last answer.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// The one lab of this test process could not be had; every test that asks is told why.
    #[error("there is no lab for these tests: {0}")]
    NoLab(String),
    /// What a test waited for did not happen.
    #[error("waited {seconds} s in vain: {what}")]
    NeverHappened {
        /// What was awaited, as a sentence.
        what: String,
        /// The deadline in seconds.
        seconds: u64,
    },
    /// The Kubernetes API refused something the lab needs.
    #[error("{doing} in the lab's cluster: {source}")]
    Cluster {
        /// What the lab was doing.
        doing: String,
        /// What the API server or the client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The reference repository cannot be used as asked.
    #[error("using the reference repository: {doing}: {reason}")]
    Reference {
        /// What was being done.
        doing: String,
        /// Why it cannot be.
        reason: String,
    },
    /// The description in the environment does not describe a running lab.
    #[error(
        "reading the lab's description from TIDEGATE_LAB: {0}; unset the variable to start a lab"
    )]
    Description(String),
}

impl LabError {
    pub(crate) fn cluster(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Cluster { doing: doing.into(), source: source.into() }
    }
}

/// For `map_err` on file system calls.
pub(crate) fn file<'a>(
    doing: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> LabError + 'a {
    move |source| LabError::File { doing, path: path.to_owned(), source }
}

/// Runs a command to its end; its standard output.
pub(crate) fn run(
    doing: impl Into<String>,
    command: &mut std::process::Command,
) -> Result<String, LabError> {
    let describe = |command: &std::process::Command, output: String| LabError::Command {
        doing: doing.into(),
        command: format!("{command:?}"),
        output,
    };
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(describe(
            command,
            format!("{}{}", output.status, trailing(&String::from_utf8_lossy(&output.stderr))),
        )),
        Err(error) => Err(describe(command, error.to_string())),
    }
}

fn trailing(stderr: &str) -> String {
    if stderr.trim().is_empty() { String::new() } else { format!(": {}", stderr.trim()) }
}
