//! Versions as tags state them: semantic versions, read leniently as Masterminds'
//! `semver` does (`v` in front, one to three numbers), with one rule of our own.
//!
//! A pre-release that is a date (`17.0-20251120`, `17.0-2025-11-20.2`) is a build
//! of that version, not something before it: that is how Odoo, PostgreSQL and most
//! base images are tagged. Among builds of one version the later date is higher,
//! and the tag without a date, which moves, is the lowest. A tag that is nothing
//! but a date is no version, or any open range would choose it.

use std::cmp::Ordering;

/// A version with up to three numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Major, minor and patch; those not stated are 0.
    pub numbers: [u64; 3],
    /// How many of the numbers are stated: 1 to 3.
    pub stated: usize,
    /// The identifiers of the pre-release; empty for a release.
    pub pre: Vec<String>,
    /// The date and what follows it, where the tag has a date; else empty.
    pub date: Vec<u64>,
}

impl Version {
    /// From a tag; none when it is no version.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        if date(tag).is_some() {
            return None;
        }
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let (text, build) = text.split_once('+').unwrap_or((text, "0"));
        let (core, suffix) = match text.split_once('-') {
            Some((core, suffix)) => (core, Some(suffix)),
            None => (text, None),
        };
        let mut numbers = [0; 3];
        let mut stated = 0;
        for part in core.split('.') {
            *numbers.get_mut(stated)? = number(part)?;
            stated += 1;
        }
        let date = suffix.and_then(date).unwrap_or_default();
        let pre = match suffix {
            Some(suffix) if date.is_empty() => identifiers(suffix)?,
            _ => Vec::new(),
        };
        identifiers(build)?;
        Some(Self { numbers, stated, pre, date })
    }

    /// Whether it comes before its release.
    #[must_use]
    pub fn is_pre_release(&self) -> bool {
        !self.pre.is_empty()
    }

    /// Numbers and pre-release in the order of the specification (semver.org 2.0.0,
    /// item 11); dates and build metadata do not count.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => pre_release(&self.pre, &other.pre),
            }
        })
    }

    /// [`Self::precedence`], then the later date, then the one that states more.
    #[must_use]
    pub fn newness(&self, other: &Self) -> Ordering {
        self.precedence(other)
            .then_with(|| self.date.cmp(&other.date))
            .then_with(|| self.stated.cmp(&other.stated))
    }
}

fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn identifiers(text: &str) -> Option<Vec<String>> {
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    let fine = |part: &String| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    parts.iter().all(fine).then_some(parts)
}

fn pre_release(one: &[String], other: &[String]) -> Ordering {
    for (a, b) in one.iter().zip(other) {
        let order = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

/// A date (`20251120` or `2025-11-20`) with an optional time or counter after it,
/// as numbers that sort; none when the text is anything else.
pub(crate) fn date(text: &str) -> Option<Vec<u64>> {
    let groups: Vec<&str> = text.split(['-', '.', '_', 'T', 't']).collect();
    if !groups.iter().all(|g| !g.is_empty() && g.len() <= 14 && number(g).is_some()) {
        return None;
    }
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    let (day, rest) = match lengths.as_slice() {
        [4, 2, 2, ..] => (groups.get(..3)?.concat(), groups.get(3..)?.to_vec()),
        [8, ..] => ((*groups.first()?).to_owned(), groups.get(1..)?.to_vec()),
        [12 | 14, ..] => {
            let (day, time) = groups.first()?.split_at(8);
            let mut rest = vec![time];
            rest.extend(groups.get(1..)?);
            (day.to_owned(), rest)
        }
        _ => return None,
    };
    let day = number(&day)?;
    let (year, month, of_month) = (day / 10_000, day / 100 % 100, day % 100);
    if !(1990..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&of_month)
    {
        return None;
    }
    let mut found = vec![day];
    for group in rest {
        found.push(number(group)?);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions_or_not() {
        for (tag, numbers) in [
            ("1.2.3", [1, 2, 3]),
            ("v1.2.3", [1, 2, 3]),
            ("17.0", [17, 0, 0]),
            ("17", [17, 0, 0]),
            ("17.0-20251120", [17, 0, 0]),
            ("1.2.3-rc.1", [1, 2, 3]),
            ("1.2.3+build.5", [1, 2, 3]),
        ] {
            assert_eq!(Version::parse(tag).map(|v| v.numbers), Some(numbers), "{tag}");
        }
        for tag in [
            "latest",
            "",
            "v",
            "1.2.3.4",
            "1..2",
            "1.a",
            "20251120",
            "2025-11-20",
            "1.2-",
            "99999999999999999999",
        ] {
            assert_eq!(Version::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn newer_is_higher() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1",
            "1.0",
            "1.0.0",
            "1.0.0-20240229",
            "1.0-20251119",
            "1.0-20251120",
            "1.0-20251120.2",
            "1.0-2025-11-21",
            "1.0-202511220915",
            "1.0.1",
            "1.10.0",
            "2",
        ];
        for pair in ascending.windows(2) {
            let [low, high] = [0, 1].map(|n| Version::parse(pair[n]).unwrap());
            assert_eq!(low.newness(&high), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn only_real_dates_are_dates() {
        for text in ["20251320", "20251100", "18000101", "2025", "rc1", "20251120-alpine", ""] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
