//! How a command fails: a sentence with a way out, and an exit code that scripts can act on.

use std::fmt;

/// What the shell is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Anything without a code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The image or its change was refused or rejected.
    Refused = 3,
    /// Something newer took its place.
    Superseded = 4,
    /// People have to approve first.
    NeedsApproval = 5,
    /// Time is up.
    TimedOut = 6,
    /// It ran and its workloads failed.
    Regressed = 7,
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// What the shell is told.
    pub code: Code,
    /// What the person is told.
    pub message: String,
}

impl Failure {
    /// With a code of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(Code::Failed, message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(Code::Failed, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error of the API server or of the way there, in words.
pub fn from_api(doing: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let refusal = status.message.as_str();
            // ValidatingAdmissionPolicy 'x' with binding 'y' denied request: <the policy's own words>
            let own = refusal.split_once(" denied request: ").map_or(refusal, |(_, own)| own);
            Failure::from(format!("{doing}: {own}"))
        }
        other => Failure::from(format!(
            "{doing}: {}; check that the cluster of this context answers (kubectl version)",
            chain(other)
        )),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
