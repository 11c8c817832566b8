//! Which of a repository's tags is wanted.
//!
//! What is held never goes back because something was deleted: a registry that
//! lost or hides a tag must not be able to bring an older version into production.
//! It goes back only when a person changes what is followed.

use crate::version::{Version, date};
use crate::{Error, Range};
use jiff::Timestamp;
use std::cmp::Ordering;
use tidegate_ids::Digest;
use tidegate_schemas::Follow;

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagInfo {
    /// The tag.
    pub tag: String,
    /// The creation time in the image's configuration, where it was looked up. It
    /// is needed only for `newest` over tags without a date.
    pub created: Option<Timestamp>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The image that this tag points to now.
    Tag(String),
    /// Exactly this digest.
    Digest(Digest),
    /// What is held already, by its digest: a newer tag was deleted.
    Held {
        /// The tag that is held.
        tag: String,
        /// In words, for the Pipeline's status.
        why: String,
    },
}

/// Chooses by what is followed. `held` is the tag that was chosen last, with the
/// creation time of its digest where that is known.
///
/// # Errors
/// When the range cannot be read, no tag fits, or nothing says which is newest.
pub fn choose(tags: &[TagInfo], follow: &Follow, held: Option<&TagInfo>) -> Result<Choice, Error> {
    match (&follow.semver, &follow.newest, &follow.digest) {
        (Some(range), None, None) => highest(tags, range, held),
        (None, Some(newest), None) => latest(tags, &newest.pattern, held),
        (None, None, Some(digest)) => Ok(Choice::Digest(*digest)),
        _ => Err(Error::Follow),
    }
}

/// The tags whose creation time [`choose`] needs: those that `newest` matches,
/// unless every one of them has a date.
#[must_use]
pub fn need_creation_time<'a>(tags: &'a [TagInfo], follow: &Follow) -> Vec<&'a str> {
    let Some(newest) = &follow.newest else { return Vec::new() };
    let fitting: Vec<&str> = tags
        .iter()
        .map(|info| info.tag.as_str())
        .filter(|tag| matches_glob(&newest.pattern, tag))
        .collect();
    if fitting.iter().all(|tag| date_in(tag).is_some()) { Vec::new() } else { fitting }
}

fn highest(tags: &[TagInfo], text: &str, held: Option<&TagInfo>) -> Result<Choice, Error> {
    let range: Range = text.parse()?;
    let version = |info: &TagInfo| Version::parse(&info.tag).filter(|v| range.contains(v));
    let order = |(a, x): &(Version, &str), (b, y): &(Version, &str)| a.newness(b).then(x.cmp(y));
    let best =
        tags.iter().filter_map(|info| Some((version(info)?, info.tag.as_str()))).max_by(order);
    let held = held.and_then(|info| Some((version(info)?, info.tag.as_str())));
    match (best, held) {
        (None, None) => Err(Error::NoTag {
            tags: tags.len(),
            wanted: format!("the semver range {text:?}"),
            hint: pre_release_hint(tags, text),
        }),
        (Some((best, _)), Some((held, tag))) if best.newness(&held) == Ordering::Less => {
            Ok(kept(tag))
        }
        (None, Some((_, tag))) => Ok(kept(tag)),
        (Some((_, tag)), _) => Ok(Choice::Tag(tag.to_owned())),
    }
}

fn kept(tag: &str) -> Choice {
    Choice::Held {
        tag: tag.to_owned(),
        why: format!(
            "tag {tag} is gone from the registry and what is left is older: its digest is kept; to go back, change `follow` of the Pipeline or roll back"
        ),
    }
}

fn pre_release_hint(tags: &[TagInfo], text: &str) -> String {
    let highest = tags
        .iter()
        .filter_map(|info| Some((Version::parse(&info.tag)?, info.tag.as_str())))
        .filter(|(version, _)| version.is_pre_release())
        .max_by(|(a, x), (b, y)| a.newness(b).then(x.cmp(y)));
    match highest {
        Some((_, tag)) if !text.contains('-') => format!(
            " ({tag} is a pre-release: those fit only where the range names one, such as >=1.2.0-0)"
        ),
        _ => String::new(),
    }
}

fn latest(tags: &[TagInfo], pattern: &str, held: Option<&TagInfo>) -> Result<Choice, Error> {
    let fitting: Vec<&TagInfo> = tags.iter().filter(|t| matches_glob(pattern, &t.tag)).collect();
    let held = held.filter(|info| matches_glob(pattern, &info.tag));
    let wanted = format!("the pattern {pattern:?}");
    if fitting.is_empty() {
        return match held {
            Some(info) => Ok(kept(&info.tag)),
            None => Err(Error::NoTag { tags: tags.len(), wanted, hint: String::new() }),
        };
    }
    let by_date = fitting.iter().all(|info| date_in(&info.tag).is_some());
    let age = |info: &TagInfo| -> Option<(Vec<u64>, Option<Timestamp>)> {
        if by_date {
            date_in(&info.tag).map(|date| (date, None))
        } else {
            info.created.map(|created| (Vec::new(), Some(created)))
        }
    };
    let best = fitting
        .iter()
        .filter_map(|info| Some((age(info)?, info.tag.as_str())))
        .max()
        .ok_or(Error::NoTime { wanted })?;
    let Some(held) = held.filter(|info| info.tag != best.1) else {
        return Ok(Choice::Tag(best.1.to_owned()));
    };
    let present = fitting.iter().any(|info| info.tag == held.tag);
    match age(held) {
        Some(age) if (&age, held.tag.as_str()) > (&best.0, best.1) => Ok(kept(&held.tag)),
        None if !present => Ok(kept(&held.tag)),
        _ => Ok(Choice::Tag(best.1.to_owned())),
    }
}

/// The date at the end of a tag: all of it, or after a `-`, `_` or `.`.
fn date_in(tag: &str) -> Option<Vec<u64>> {
    let ends = tag.match_indices(['-', '_', '.']).filter_map(|(at, _)| tag.get(at + 1..));
    std::iter::once(tag).chain(ends).find_map(date)
}

/// `*` stands for any characters, every other character for itself.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_schemas::Newest;

    fn tags(names: &[&str]) -> Vec<TagInfo> {
        names.iter().map(|tag| TagInfo { tag: (*tag).to_owned(), created: None }).collect()
    }

    fn at(tag: &str, hour: i64) -> TagInfo {
        let created = Timestamp::from_second(hour * 3600).ok();
        TagInfo { tag: tag.to_owned(), created }
    }

    fn semver(range: &str) -> Follow {
        Follow { semver: Some(range.to_owned()), ..Follow::default() }
    }

    fn newest(pattern: &str) -> Follow {
        Follow { newest: Some(Newest { pattern: pattern.to_owned() }), ..Follow::default() }
    }

    fn tag(name: &str) -> Choice {
        Choice::Tag(name.to_owned())
    }

    #[test]
    fn the_highest_version_of_the_range_is_chosen() {
        for (range, names, expected) in [
            ("~17.0", &["latest", "16.0", "17.0.1", "17.0.10", "17.0.9", "18.0"][..], "17.0.10"),
            ("~17.0", &["17.0", "17.0-20251120", "17.0-20251119"], "17.0-20251120"),
            (">=17.0", &["17.0", "20251120"], "17.0"),
            ("1", &["1", "1.0", "1.0.0"], "1.0.0"),
            ("1.2.3", &["1.2.4", "1.2.3"], "1.2.3"),
            ("^1", &["1.0.0", "1.1.0-rc.1"], "1.0.0"),
        ] {
            assert_eq!(choose(&tags(names), &semver(range), None), Ok(tag(expected)), "{range}");
        }
    }

    #[test]
    fn no_fitting_version_says_so_and_what_was_close() {
        let error = choose(&tags(&["1.1.0-rc.1", "latest"]), &semver("^1"), None).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("none of the 2 tags fits the semver range \"^1\""), "{message}");
        assert!(message.contains("1.1.0-rc.1 is a pre-release"), "{message}");
    }

    #[test]
    fn a_deleted_tag_brings_nothing_older_back() {
        let held = at("17.0.3", 3);
        let kept = |choice: Result<Choice, Error>| matches!(choice, Ok(Choice::Held { .. }));
        assert!(kept(choose(&tags(&["17.0.2"]), &semver("~17.0"), Some(&held))));
        assert!(kept(choose(&[], &semver("~17.0"), Some(&held))));
        assert_eq!(choose(&tags(&["17.0.4"]), &semver("~17.0"), Some(&held)), Ok(tag("17.0.4")));
        // A person who asks for another range gets it.
        assert_eq!(choose(&tags(&["16.0.1"]), &semver("~16.0"), Some(&held)), Ok(tag("16.0.1")));

        let held = at("main-c", 30);
        let left = [at("main-a", 10), at("main-b", 20)];
        assert!(kept(choose(&left, &newest("main-*"), Some(&held))));
        let unknown = TagInfo { created: None, ..held.clone() };
        assert!(kept(choose(&left, &newest("main-*"), Some(&unknown))));
        let newer = [at("main-a", 10), at("main-d", 40)];
        assert_eq!(choose(&newer, &newest("main-*"), Some(&held)), Ok(tag("main-d")));
    }

    #[test]
    fn the_newest_is_told_by_date_in_the_tag_or_by_creation() {
        let dated = tags(&["17.0-20251119", "17.0-20251120", "17.0-2025-11-21", "16.0-20260101"]);
        assert_eq!(choose(&dated, &newest("17.0-*"), None), Ok(tag("17.0-2025-11-21")));
        assert!(need_creation_time(&dated, &newest("17.0-*")).is_empty());
        assert_eq!(need_creation_time(&tags(&["a-1", "b"]), &newest("a-*")), ["a-1"]);
        let built = [at("main-a", 20), at("main-b", 10), at("dev-c", 99)];
        assert_eq!(choose(&built, &newest("main-*"), None), Ok(tag("main-a")));
        assert!(matches!(
            choose(&tags(&["main-a"]), &newest("main-*"), None),
            Err(Error::NoTime { .. })
        ));
        assert!(matches!(
            choose(&tags(&["main-a"]), &newest("x*"), None),
            Err(Error::NoTag { .. })
        ));
    }

    #[test]
    fn exactly_one_way_is_followed() {
        let digest = Digest::of(b"x");
        let exact = Follow { digest: Some(digest), ..Follow::default() };
        assert_eq!(choose(&[], &exact, None), Ok(Choice::Digest(digest)));
        assert_eq!(choose(&[], &Follow::default(), None), Err(Error::Follow));
        let both = Follow { semver: Some("1".to_owned()), ..exact };
        assert_eq!(choose(&[], &both, None), Err(Error::Follow));
    }

    #[test]
    fn globs_cover_the_whole_tag() {
        for (pattern, text, fits) in [
            ("17.0-*", "17.0-x", true),
            ("17.0-*", "v17.0-x", false),
            ("*-alpine", "1-alpine", true),
            ("*-alpine", "1-alpine3", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("x", "x", true),
            ("x", "xy", false),
        ] {
            assert_eq!(matches_glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_tags_never_matters_and_nothing_goes_back(
            names in prop::collection::vec("(17|18)\\.[0-2](\\.[0-3])?(-2025112[0-9]|-rc\\.1)?", 1..8),
            gone in any::<prop::sample::Index>(),
        ) {
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            let follow = semver("~17");
            let one = choose(&tags(&all), &follow, None);
            let reversed: Vec<&str> = all.iter().rev().copied().collect();
            prop_assert_eq!(&one, &choose(&tags(&reversed), &follow, None));
            if let Ok(Choice::Tag(held)) = one {
                let mut left = tags(&all);
                left.remove(gone.index(left.len()));
                let info = TagInfo { tag: held.clone(), created: None };
                match choose(&left, &follow, Some(&info)) {
                    Ok(Choice::Tag(tag) | Choice::Held { tag, .. }) => {
                        let [now, before] = [&tag, &held].map(|t| Version::parse(t).unwrap());
                        prop_assert!(now.newness(&before) != Ordering::Less);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
