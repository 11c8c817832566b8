//! How an image comes out under trust policies, for people and for programs: the pure part of
//! `tidegate verify`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tidegate_provenance::{CheckResult, ImageRef, Outcome};
use tidegate_schemas::Verdict;

use crate::text::safe;

/// What was asked about.
#[derive(Debug)]
pub struct Asked {
    /// The image.
    pub image: ImageRef,
    /// The tag that it was asked by.
    pub tag: Option<String>,
    /// Whether its digest is that of an index, with an image for each platform.
    pub index: bool,
    /// How many things are attached to it.
    pub attached: usize,
}

/// How it came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Repository and digest.
    pub image: String,
    /// The tag that it was asked by.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// Whether its digest is that of an index.
    index: bool,
    /// How many things are attached to it.
    attached: usize,
    /// Whether it may run.
    pub may_run: bool,
    /// How each rule of each policy came out.
    checks: Vec<Check>,
    /// The verdict as a Release records it.
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    policy: String,
    rule: String,
    result: Word,
    /// Who satisfies it, why it is not satisfied, or why it was not asked.
    because: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
enum Word {
    Passed,
    Failed,
    NotAsked,
}

impl Judged {
    /// The outcome about what was asked.
    pub fn new(asked: &Asked, outcome: &Outcome) -> Self {
        let checks = outcome.checks.iter().map(|check| {
            let (result, because) = match &check.result {
                CheckResult::Passed { by } => (Word::Passed, by.clone()),
                CheckResult::Failed { reasons } => {
                    (Word::Failed, reasons.iter().map(ToString::to_string).collect())
                }
                CheckResult::NotAsked { why } => (Word::NotAsked, vec![why.clone()]),
            };
            Check { policy: check.policy.clone(), rule: check.what.clone(), result, because }
        });
        let verdict = outcome.verdict.record();
        Self {
            image: asked.image.to_string(),
            tag: asked.tag.clone(),
            index: asked.index,
            attached: asked.attached,
            may_run: verdict.passed,
            checks: checks.collect(),
            verdict,
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            let _infallible = writeln!(out, "{text}");
        };
        line(&safe(&self.image));
        if let Some(tag) = &self.tag {
            line(&format!(
                "  what the tag {} is now; the digest is what is judged and what runs",
                safe(tag)
            ));
        }
        if self.index {
            line("  an index: it is judged as one, with the images of all its platforms");
        }
        line(&match self.attached {
            0 => "  nothing is attached to it".to_owned(),
            1 => "  1 signature or statement is attached to it".to_owned(),
            n => format!("  {n} signatures and statements are attached to it"),
        });
        let mut policies: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
        for check in &self.checks {
            policies.entry(&check.policy).or_default().push(check);
        }
        for (policy, checks) in policies {
            line(&format!("\nTrustPolicy {}", safe(policy)));
            for check in checks {
                check.tell(&mut line);
            }
        }
        line("");
        self.conclude(&mut line);
        out
    }

    fn conclude(&self, line: &mut impl FnMut(&str)) {
        if !self.may_run {
            line("It may not run.");
            // What no rule says by itself, such as that no policy names it.
            let told: Vec<_> = self.checks.iter().flat_map(|check| &check.because).collect();
            for reason in self.verdict.reasons.iter().filter(|reason| !told.contains(reason)) {
                line(&format!("  {}", safe(reason)));
            }
            return;
        }
        line(&match (&self.verdict.exception, self.verdict.until) {
            (Some(exception), _) => format!(
                "It may run, by an exception of {} and {} until {}.",
                safe(&exception.owner),
                safe(&exception.approved_by),
                exception.expires
            ),
            (None, Some(until)) => format!("It may run; it is judged again at {until}."),
            (None, None) => "It may run.".to_owned(),
        });
    }
}

impl Check {
    fn tell(&self, line: &mut impl FnMut(&str)) {
        let rule = safe(&self.rule);
        match self.result {
            Word::Passed => {
                line(&format!("  passed     {rule}"));
                self.because.iter().for_each(|by| line(&format!("             {}", safe(by))));
            }
            Word::Failed => {
                line(&format!("  FAILED     {rule}"));
                self.because.iter().for_each(|why| line(&format!("             - {}", safe(why))));
            }
            Word::NotAsked => {
                line(&format!("  not asked  {rule}: {}", safe(&self.because.join("; "))));
            }
        }
    }
}
