//! What verification says: the verdict, and how each rule of each policy came out.

use crate::{Reason, Verdict};

/// The verdict on an image with its explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it may run.
    pub verdict: Verdict,
    /// How each rule came out, by policy.
    pub checks: Vec<Check>,
}

/// How one rule came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The policy that asks.
    pub policy: String,
    /// What it asks for, such as `signed by release-key`.
    pub what: String,
    /// How it came out.
    pub result: CheckResult,
}

/// How a rule came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// It is satisfied.
    Passed {
        /// By what, one sentence or name each.
        by: Vec<String>,
    },
    /// It is not.
    Failed {
        /// Why not. Never empty.
        reasons: Vec<Reason>,
    },
    /// It was not asked.
    NotAsked {
        /// Why not.
        why: String,
    },
}

impl CheckResult {
    pub(crate) fn passed(by: impl Into<String>) -> Self {
        Self::Passed { by: vec![by.into()] }
    }

    /// The reasons, where it failed.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Failed { reasons } => reasons,
            _ => &[],
        }
    }
}
