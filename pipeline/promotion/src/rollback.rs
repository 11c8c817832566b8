//! What may be rolled back to, and when it happens by itself.
//!
//! Known good is content that completed its whole watch in this environment. An
//! automatic rollback happens at most once for a release, never for a rollback,
//! and at most twice a day in an environment's lane; beyond that people decide.

use jiff::{SignedDuration, Timestamp};
use tidegate_ids::Digest;
use tidegate_schemas::{Kind, Phase, Rollback};

/// Automatic rollbacks of one environment's lane within [`DAY`].
const A_DAY_AT_MOST: usize = 2;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A promotion of the same environment and lane that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its name.
    pub name: String,
    /// Its release.
    pub release: String,
    /// What it brought.
    pub manifests: Digest,
    /// What kind of move it was.
    pub kind: Kind,
    /// Whether a person asked for it.
    pub by_person: bool,
    /// How it ended.
    pub phase: Phase,
    /// Whether it completed its whole watch.
    pub known_good: bool,
    /// When it ended.
    pub ended: Timestamp,
    /// When what it brought ran last: when other content replaced it, or now.
    pub ran_until: Timestamp,
    /// Whether one of its images may no longer run: it, its key or its signer was revoked, or it does
    /// not pass the rules in force.
    pub refused: bool,
}

/// What follows from a regression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackChoice {
    /// Bring this release's content back.
    To {
        /// The release.
        release: String,
        /// The promotion that proved it.
        proved_by: String,
    },
    /// Move nothing; people decide, because of this.
    Freeze(String),
}

/// The known good contents that count: the newest, distinct, not too old, not quarantined, with images
/// that may still run. They are what may be rolled back to.
#[must_use]
pub fn known_good<'a>(past: &'a [Past], rules: &Rollback, now: Timestamp) -> Vec<&'a Past> {
    let mut good: Vec<&Past> = Vec::new();
    let mut newest_first: Vec<_> = past.iter().filter(|p| p.known_good && !p.refused).collect();
    newest_first.sort_by_key(|p| std::cmp::Reverse(p.ended));
    for candidate in newest_first {
        let bad = past.iter().any(|p| {
            p.phase == Phase::Regressed
                && p.manifests == candidate.manifests
                && p.ended > candidate.ended
        });
        let old = now.duration_since(candidate.ran_until) > rules.max_age.to_signed();
        if !bad && !old && good.iter().all(|g| g.manifests != candidate.manifests) {
            good.push(candidate);
        }
    }
    good.truncate(usize::try_from(rules.keep).unwrap_or(usize::MAX));
    good
}

/// Whether this content may be rolled back to.
#[must_use]
pub fn is_known_good(manifests: Digest, past: &[Past], rules: &Rollback, now: Timestamp) -> bool {
    known_good(past, rules, now).iter().any(|p| p.manifests == manifests)
}

/// What an automatic rollback of `regressed` restores, if one is due.
#[must_use]
pub fn rollback_target(
    regressed: &Past,
    past: &[Past],
    rules: &Rollback,
    now: Timestamp,
) -> RollbackChoice {
    if regressed.kind == Kind::Rollback {
        return RollbackChoice::Freeze(
            "a rollback that does not cure is not rolled back; somebody has to look".to_owned(),
        );
    }
    let automatic: Vec<_> =
        past.iter().filter(|p| p.kind == Kind::Rollback && !p.by_person).collect();
    let again = past.iter().any(|p| {
        p.phase == Phase::Regressed && p.release == regressed.release && p.name != regressed.name
    });
    if again {
        return RollbackChoice::Freeze(format!(
            "{} regressed here before; it is rolled back at most once",
            regressed.release
        ));
    }
    let today = automatic.iter().filter(|p| now.duration_since(p.ended) < DAY).count();
    if today >= A_DAY_AT_MOST {
        return RollbackChoice::Freeze(format!(
            "{today} automatic rollbacks happened here within a day; something else is wrong"
        ));
    }
    let target =
        known_good(past, rules, now).into_iter().find(|p| p.manifests != regressed.manifests);
    match target {
        Some(good) => {
            RollbackChoice::To { release: good.release.clone(), proved_by: good.name.clone() }
        }
        None => RollbackChoice::Freeze(format!(
            "no content completed its whole watch here within {}; there is nothing known good to go back to",
            rules.max_age
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(name: &str, content: &str, phase: Phase, ended: i64) -> Past {
        Past {
            name: name.into(),
            release: format!("release-{content}"),
            manifests: Digest::of(content.as_bytes()),
            kind: Kind::Promote,
            by_person: false,
            phase,
            known_good: phase == Phase::Succeeded,
            ended: Timestamp::from_second(ended).unwrap(),
            ran_until: Timestamp::from_second(ended).unwrap(),
            refused: false,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1000).unwrap()
    }

    fn to(content: &str, name: &str) -> RollbackChoice {
        RollbackChoice::To { release: format!("release-{content}"), proved_by: name.into() }
    }

    #[test]
    fn the_newest_known_good_content_comes_back() {
        let regressed = past("p3", "c", Phase::Regressed, 900);
        let all = [
            past("p1", "a", Phase::Succeeded, 100),
            past("p2", "b", Phase::Succeeded, 200),
            regressed.clone(),
        ];
        assert_eq!(rollback_target(&regressed, &all, &Rollback::default(), now()), to("b", "p2"));
    }

    #[test]
    fn content_that_regressed_later_is_not_known_good() {
        let regressed = past("p4", "c", Phase::Regressed, 900);
        let all = [
            past("p1", "a", Phase::Succeeded, 100),
            past("p2", "b", Phase::Succeeded, 200),
            past("p3", "b", Phase::Regressed, 300),
            regressed.clone(),
        ];
        assert_eq!(rollback_target(&regressed, &all, &Rollback::default(), now()), to("a", "p1"));
    }

    #[test]
    fn content_with_a_revoked_image_does_not_come_back() {
        let regressed = past("p3", "c", Phase::Regressed, 900);
        let mut revoked = past("p2", "b", Phase::Succeeded, 200);
        revoked.refused = true;
        let all = [past("p1", "a", Phase::Succeeded, 100), revoked.clone(), regressed.clone()];
        let rules = Rollback { keep: 1, ..Rollback::default() };
        assert_eq!(rollback_target(&regressed, &all, &rules, now()), to("a", "p1"));
        let alone = [revoked, regressed.clone()];
        assert!(matches!(
            rollback_target(&regressed, &alone, &rules, now()),
            RollbackChoice::Freeze(_)
        ));
    }

    #[test]
    fn a_rollback_is_never_rolled_back() {
        let mut regressed = past("p3", "c", Phase::Regressed, 900);
        regressed.kind = Kind::Rollback;
        let all = [past("p1", "a", Phase::Succeeded, 100), regressed.clone()];
        assert!(matches!(
            rollback_target(&regressed, &all, &Rollback::default(), now()),
            RollbackChoice::Freeze(_)
        ));
    }

    #[test]
    fn two_automatic_rollbacks_a_day_are_enough() {
        let regressed = past("p9", "z", Phase::Regressed, 900);
        let mut all = vec![past("p1", "a", Phase::Succeeded, 100), regressed.clone()];
        for (name, content) in [("r1", "x"), ("r2", "y")] {
            let mut back = past(name, content, Phase::Succeeded, 500);
            back.kind = Kind::Rollback;
            all.push(back);
        }
        assert!(matches!(
            rollback_target(&regressed, &all, &Rollback::default(), now()),
            RollbackChoice::Freeze(_)
        ));
    }

    #[test]
    fn what_ran_until_minutes_ago_comes_back_however_long_ago_it_arrived() {
        let regressed = past("p3", "c", Phase::Regressed, 900);
        let mut good = past("p1", "a", Phase::Succeeded, 100);
        good.ran_until = Timestamp::from_second(880).unwrap();
        let rules = Rollback { keep: 3, max_age: tidegate_ids::Period::seconds(200) };
        assert_eq!(
            rollback_target(&regressed, &[good, regressed.clone()], &rules, now()),
            to("a", "p1")
        );
    }

    #[test]
    fn what_is_too_old_does_not_come_back() {
        let regressed = past("p3", "c", Phase::Regressed, 900);
        let all = [past("p1", "a", Phase::Succeeded, 100), regressed.clone()];
        let rules = Rollback { keep: 3, max_age: tidegate_ids::Period::seconds(60) };
        assert!(matches!(
            rollback_target(&regressed, &all, &rules, now()),
            RollbackChoice::Freeze(_)
        ));
    }
}
