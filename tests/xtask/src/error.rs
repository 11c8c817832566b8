//! What can make the developer's command fail.

use std::process::ExitStatus;

use tidegate_harness::LabError;

/// An error shown to the developer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XtaskError {
    /// A command could not be started or said no.
    #[error("`{command}` {reason}")]
    Step { command: String, reason: String },
    /// Commands are missing and cannot be installed from here.
    #[error("this machine lacks {missing}; install it with\n  {line}")]
    Missing { missing: String, line: String },
    /// Rules of the code base are broken.
    #[error("{} rule(s) broken:\n{}", .0.len(), .0.join("\n"))]
    Rules(Vec<String>),
    /// Several checks failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Checks(Vec<XtaskError>),
    /// The story, or a part of it, does not hold.
    #[error("{0}")]
    Story(String),
    /// Another tool and Tidegate differ where they must not.
    #[error("{} case(s) are not as they must be:\n{}", .0.len(), .0.join("\n"))]
    Interop(Vec<String>),
    /// The lab did not come up.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// Turns the end of a step into a result.
pub(crate) fn succeed(
    command: &str,
    status: std::io::Result<ExitStatus>,
) -> Result<(), XtaskError> {
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("failed ({status})"),
        Err(error) => format!("could not be started: {error}"),
    };
    Err(XtaskError::Step { command: command.to_owned(), reason })
}
