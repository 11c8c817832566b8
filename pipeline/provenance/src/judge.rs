//! Verification: the image, what is attached to it and the rules, to a verdict.
//!
//! Deny unless proved. What is revoked does not run, whatever lets it; of the policies that name
//! the image every one must be satisfied, and one at least must name it. What is attached and does
//! not count never outweighs what does, and never stands in for it; when a demand is not met,
//! everything's shortcoming is told.

use jiff::Timestamp;

use crate::exception::Listed;
use crate::outcome::{Check, CheckResult, Outcome};
use crate::requirement::earlier;
use crate::rules::Rules;
use crate::statements::Statements;
use crate::trust::TrustRule;
use crate::verdict::{Grounds, Verdict, VerifiedImage};
use crate::{Attached, Reason, Subject};

/// The most reasons that are told; more are of no use to anybody.
const REASONS: usize = 40;

/// Whether an image may run, by what is attached to it and the rules in force, now; with how each
/// rule came out.
#[must_use]
pub fn verify(subject: &Subject, attached: &[Attached], rules: &Rules, now: Timestamp) -> Outcome {
    let image = &subject.image;
    let naming: Vec<_> = rules.naming(&image.repository).collect();
    let policies: Vec<_> = naming.iter().map(|rule| rule.policy().to_owned()).collect();
    let mut checks: Vec<Check> =
        rules.all().filter_map(|rule| not_revoked(rule, subject)).collect();
    let mut reasons = Vec::new();
    let mut begins = None;
    let mut grounds = Grounds::default();
    let statements = Statements::read(subject, attached, rules.revoked(), now);
    for rule in &naming {
        begins = earlier(begins, begin(rule, now));
        let (satisfied, own) = apply(rule, &statements);
        grounds.add(satisfied);
        checks.extend(own);
    }
    for reason in checks.iter().flat_map(|check| check.result.reasons()) {
        if !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    if naming.is_empty() {
        reasons.push(Reason::NoPolicy { image: image.clone() });
    }
    let verdict = if reasons.is_empty() {
        Verdict::Passed(Box::new(VerifiedImage::new(image.clone(), policies, grounds, now)))
    } else {
        reasons.truncate(REASONS);
        Verdict::Failed { policies, reasons, until: begins }
    };
    Outcome { verdict, checks }
}

/// Whether a policy revokes this image; nothing where it revokes nothing.
fn not_revoked(rule: &TrustRule, subject: &Subject) -> Option<Check> {
    let image = subject.image.digest;
    let reasons: Vec<_> = rule
        .revoked
        .iter()
        .filter(|one| one.revokes_image(image))
        .map(|one| {
            let (policy, why) = (one.policy.clone(), one.reason.clone());
            Reason::RevokedImage { policy, image, why }
        })
        .collect();
    let result = if reasons.is_empty() {
        CheckResult::passed("this digest is not among what it revokes")
    } else {
        CheckResult::Failed { reasons }
    };
    (!rule.revoked.is_empty()).then(|| check(rule, "not revoked".to_owned(), result))
}

/// How each demand of a policy that names the image comes out, and what it is satisfied by.
fn apply(rule: &TrustRule, statements: &Statements<'_>) -> (Grounds, Vec<Check>) {
    let image = statements.subject.image.digest;
    let listed = rule.exceptions.of(image, statements.now);
    let excepted = matches!(listed, Listed::Until(_));
    let mut grounds = Grounds::default();
    let mut checks = Vec::new();
    for requirement in &rule.require {
        let result = if excepted {
            not_asked()
        } else {
            settle(requirement.judge(rule, statements), &mut grounds)
        };
        checks.push(check(rule, format!("signed by {}", requirement.words()), result));
    }
    for attestation in &rule.attestations {
        let asked = (!excepted).then(|| attestation.judge(rule, statements));
        checks.push(check(rule, attestation.words(), said(asked, &mut grounds)));
    }
    if let Some(base) = &rule.base {
        let asked = (!excepted).then(|| base.judge(rule, statements));
        checks.push(check(rule, base.words(), said(asked, &mut grounds)));
    }
    let failed = checks.iter().any(|check| !check.result.reasons().is_empty());
    let result = match listed {
        Listed::Until(exception) => {
            let until = Some(exception.expires);
            grounds = Grounds { exception: Some(exception.clone()), until, ..Grounds::default() };
            CheckResult::passed(format!(
                "{} and {} until {}: {}",
                crate::shortcoming::printable(&exception.owner),
                crate::shortcoming::printable(&exception.approved_by),
                exception.expires,
                crate::shortcoming::printable(&exception.reason)
            ))
        }
        Listed::Expired(exception) if failed || rule.require.is_empty() => {
            let exception = exception.clone();
            CheckResult::Failed { reasons: vec![Reason::Expired { image, exception }] }
        }
        Listed::No if rule.require.is_empty() => {
            let (image, policy) = (statements.subject.image.clone(), rule.policy().to_owned());
            CheckResult::Failed { reasons: vec![Reason::NotListed { image, policy }] }
        }
        Listed::Expired(_) => CheckResult::NotAsked { why: "it is signed".to_owned() },
        Listed::No => CheckResult::NotAsked { why: "this digest is not listed".to_owned() },
    };
    if !rule.exceptions.is_empty() {
        checks.push(check(rule, "listed as an exception".to_owned(), result));
    }
    (grounds, checks)
}

fn settle(judged: Result<Grounds, Vec<Reason>>, grounds: &mut Grounds) -> CheckResult {
    match judged {
        Ok(satisfied) => {
            let by = satisfied.signers.iter().map(ToString::to_string).collect();
            grounds.add(satisfied);
            CheckResult::Passed { by }
        }
        Err(reasons) => CheckResult::Failed { reasons },
    }
}

/// How a demand for a statement came out, where it was asked.
fn said(
    asked: Option<Result<(String, Grounds), Vec<Reason>>>,
    grounds: &mut Grounds,
) -> CheckResult {
    match asked {
        None => not_asked(),
        Some(Ok((summary, satisfied))) => {
            grounds.add(satisfied);
            CheckResult::passed(summary)
        }
        Some(Err(reasons)) => CheckResult::Failed { reasons },
    }
}

fn not_asked() -> CheckResult {
    CheckResult::NotAsked { why: "it runs by an exception".to_owned() }
}

fn check(rule: &TrustRule, what: String, result: CheckResult) -> Check {
    Check { policy: rule.policy().to_owned(), what, result }
}

/// When a key of this policy begins to count.
fn begin(rule: &TrustRule, now: Timestamp) -> Option<Timestamp> {
    rule.require.iter().filter_map(|one| one.begins(now)).min()
}

#[cfg(test)]
mod tests;
