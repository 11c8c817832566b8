//! The soak gate: content must have been healthy in earlier environments.
//!
//! Time is *earned*: it adds up over interruptions shorter than the tolerance, it
//! counts only while the content was healthy, and it stays earned when newer
//! content replaces it there.

use jiff::{SignedDuration, Timestamp};
use tidegate_ids::Period;
use tidegate_schemas::{GateName, GateReport, GateState, Interval};

use crate::{Earned, Facts, Policy, Presence, open, waiting};

/// How many intervals are kept.
const KEPT: usize = 20;

/// The time that healthy intervals add up to, counted back from the newest over
/// interruptions no longer than the tolerance.
#[must_use]
pub fn earned(healthy: &[Interval], tolerance: Period, now: Timestamp) -> SignedDuration {
    let mut total = SignedDuration::ZERO;
    let mut next_from: Option<Timestamp> = None;
    for interval in healthy.iter().rev() {
        let to = interval.to.unwrap_or(now);
        if next_from.is_some_and(|from| from.duration_since(to) > tolerance.to_signed()) {
            break;
        }
        total += to.duration_since(interval.from).max(SignedDuration::ZERO);
        next_from = Some(interval.from);
    }
    total
}

/// Records that content is healthy, or not, since a moment. Returns whether anything changed.
pub fn record(healthy: &mut Vec<Interval>, is_healthy: bool, since: Timestamp) -> bool {
    match (healthy.last_mut(), is_healthy) {
        (Some(last), false) if last.to.is_none() => {
            last.to = Some(since.max(last.from));
            true
        }
        (Some(last), true) if last.to.is_none() => false,
        (last, true) => {
            let from = last.and_then(|l| l.to).map_or(since, |to| since.max(to));
            healthy.push(Interval { from, to: None });
            let extra = healthy.len().saturating_sub(KEPT);
            healthy.drain(..extra);
            true
        }
        (_, false) => false,
    }
}

/// One report for each environment that is asked for.
pub(crate) fn reports(facts: &Facts, policy: &Policy, now: Timestamp) -> Vec<GateReport> {
    let nothing = Earned::default();
    policy
        .after
        .iter()
        .map(|(environment, after)| {
            let earned = facts.earned.get(environment).unwrap_or(&nothing);
            match earned.presence {
                Presence::Expected | Presence::Arrived => {
                    one(environment.as_str(), earned, after.healthy_for, now)
                }
                Presence::Unused | Presence::LeftOut => {
                    without_content(environment.as_str(), earned.presence, policy.after_by_default)
                }
            }
        })
        .collect()
}

/// A release that leaves an environment out does not thereby pass it.
fn without_content(environment: &str, presence: Presence, by_default: bool) -> GateReport {
    if by_default && presence == Presence::Unused {
        return open(GateName::After, format!("{environment} has no content of this lane"));
    }
    let who = if by_default { "the order of environments asks" } else { "the class asks" };
    waiting(
        GateName::After,
        format!(
            "{who} for {environment} first, and this release has no content for it; it opens for a release that has"
        ),
    )
}

fn one(environment: &str, earned: &Earned, needed: Period, now: Timestamp) -> GateReport {
    let gate = GateName::After;
    if earned.presence == Presence::Expected {
        return waiting(
            gate,
            format!(
                "this content has not been healthy in {environment} yet; it opens {needed} after it is"
            ),
        );
    }
    let missing = needed.to_signed() - earned.healthy;
    let enough = missing <= SignedDuration::ZERO;
    if enough && (earned.counting || earned.healthy > SignedDuration::ZERO) {
        return open(
            gate,
            format!("this content was healthy in {environment} for {needed} or longer"),
        );
    }
    if !earned.counting {
        return waiting(
            gate,
            format!(
                "this content is not healthy in {environment} now; it needs {needed} of good health there"
            ),
        );
    }
    // The time that passed is not told: it would change with every look.
    GateReport {
        gate,
        state: GateState::Waiting,
        message: format!("this content is healthy in {environment}, but not for {needed} yet"),
        opens_at: now.checked_add(missing).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn short_interruptions_do_not_start_the_count_again_and_long_ones_do() {
        let mut healthy = Vec::new();
        assert!(record(&mut healthy, true, at(0)));
        assert!(record(&mut healthy, false, at(100)));
        assert!(record(&mut healthy, true, at(105)));
        assert_eq!(earned(&healthy, Period::seconds(10), at(205)), SignedDuration::from_secs(200));
        assert_eq!(earned(&healthy, Period::seconds(1), at(205)), SignedDuration::from_secs(100));
    }

    #[test]
    fn repeated_reports_of_the_same_health_change_nothing() {
        let mut healthy = Vec::new();
        assert!(!record(&mut healthy, false, at(0)));
        assert!(record(&mut healthy, true, at(1)));
        assert!(!record(&mut healthy, true, at(2)));
    }
}
