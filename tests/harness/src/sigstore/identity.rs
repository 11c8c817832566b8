//! Who signs: the holder of a key, or somebody with an identity.
//!
//! The lab's OpenID provider has three issuers: the directory of the hospital's people, that of a
//! partner, and a CI service whose tokens carry the claims of a workflow's run, under the names that
//! GitHub gives them, so that Fulcio writes the same certificate extensions as for GitHub.

use serde_json::{Value, json};

use crate::CosignKey;

/// Where the lab's CI service says that its repositories are.
pub const FORGE: &str = "https://forge.hospital.example";

/// Somebody who proves an identity to Fulcio.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A person of the hospital's directory, by e-mail address.
    Person(String),
    /// A person of a partner's directory, which may hold the same address.
    Partner(String),
    /// A run of a workflow at the CI service.
    Workflow(Workflow),
}

/// What the CI service says of a workflow's run.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// The repository that it runs for, such as `hospital/odoo`.
    pub repository: String,
    /// The forge's number for that repository.
    pub repository_id: String,
    /// The ref that it runs for, such as `refs/heads/main`.
    pub ref_: String,
    /// The file with the workflow's instructions, `owner/repository/path@ref`; it may be of another
    /// repository (a reusable workflow).
    pub instructions: String,
    /// The event that started it.
    pub trigger: String,
    /// The kind of runner.
    pub runner: String,
}

impl Workflow {
    /// The release workflow of a repository, started by a push to `main`.
    #[must_use]
    pub fn release(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            repository_id: "4711".to_owned(),
            ref_: "refs/heads/main".to_owned(),
            instructions: format!("{repository}/.forge/workflows/release.yml@refs/heads/main"),
            trigger: "push".to_owned(),
            runner: "self-hosted".to_owned(),
        }
    }

    /// The repository's URL, as certificates state it.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{FORGE}/{}", self.repository)
    }

    fn claims(&self) -> Value {
        let owner = self.repository.split('/').next().unwrap_or_default();
        let commit = "1".repeat(40);
        json!({
            "sub": format!("repo:{}:ref:{}", self.repository, self.ref_),
            "repository": self.repository,
            "repository_id": self.repository_id,
            "repository_owner": owner,
            "repository_owner_id": "17",
            "repository_visibility": "private",
            "ref": self.ref_,
            "sha": commit,
            "workflow": "release",
            "workflow_ref": format!("{}/.forge/workflows/release.yml@{}", self.repository, self.ref_),
            "workflow_sha": commit,
            "job_workflow_ref": self.instructions,
            "job_workflow_sha": commit,
            "event_name": self.trigger,
            "runner_environment": self.runner,
            "run_id": "1",
            "run_attempt": "1",
        })
    }
}

impl Identity {
    /// A person of the hospital.
    #[must_use]
    pub fn person(email: &str) -> Self {
        Self::Person(email.to_owned())
    }

    /// The certificate's subject alternative name: the address, or the workflow's instructions.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Person(email) | Self::Partner(email) => email.clone(),
            Self::Workflow(workflow) => format!("{FORGE}/{}", workflow.instructions),
        }
    }

    /// Which of the provider's issuers knows them.
    pub(super) const fn issuer(&self) -> &'static str {
        match self {
            Self::Person(_) => "people",
            Self::Partner(_) => "partners",
            Self::Workflow(_) => "ci",
        }
    }

    pub(super) fn claims(&self) -> Value {
        match self {
            Self::Person(email) | Self::Partner(email) => {
                json!({"sub": email, "email": email, "email_verified": true})
            }
            Self::Workflow(workflow) => workflow.claims(),
        }
    }
}

/// Who makes a signature.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The holder of a key.
    Key(&'a CosignKey),
    /// Somebody with an identity, who gets a certificate for ten minutes.
    Keyless(&'a Identity),
}

/// What proves when a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// An entry in the transparency log.
    Log,
    /// A stamp of the timestamp authority (RFC 3161).
    Timestamp,
    /// Both. The entry of a log of version 2 has no time of its own.
    LogAndTimestamp,
}

impl Proof {
    pub(super) const ALL: [Self; 4] =
        [Self::None, Self::Log, Self::Timestamp, Self::LogAndTimestamp];

    /// As it stands in file names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Log => "log",
            Self::Timestamp => "timestamp",
            Self::LogAndTimestamp => "log-and-timestamp",
        }
    }

    pub(super) const fn log(self) -> bool {
        matches!(self, Self::Log | Self::LogAndTimestamp)
    }

    pub(super) const fn timestamp(self) -> bool {
        matches!(self, Self::Timestamp | Self::LogAndTimestamp)
    }
}
