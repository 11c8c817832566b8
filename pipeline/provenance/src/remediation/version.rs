//! Which of two versions is newer, by the rules of the package manager that made them.
//!
//! Debian Policy 5.6.12 (dpkg), rpm's `rpmvercmp`, apk-tools' package specification, Semantic
//! Versioning 2.0 (npm, Cargo, Go) and PEP 440. Where a version is not of the form its rules ask
//! for, nothing is known of its order: a wrong order would take an unfixed package for a fixed one.

use std::cmp::Ordering;

use crate::Ecosystem;

/// How two versions compare; `None` where that is not known.
pub(super) fn compare(ecosystem: Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (a.trim(), b.trim());
    if a.is_empty() || b.is_empty() || !a.is_ascii() || !b.is_ascii() {
        return None;
    }
    match ecosystem {
        Ecosystem::Deb => Some(deb(&epoch(a)?, &epoch(b)?)),
        Ecosystem::Rpm => Some(rpm(&epoch(a)?, &epoch(b)?)),
        Ecosystem::Apk => Some(Apk::read(a)?.cmp(&Apk::read(b)?)),
        Ecosystem::Npm | Ecosystem::Cargo => Some(Semantic::read(a)?.cmp(&Semantic::read(b)?)),
        Ecosystem::Golang => {
            let plain = |text: &'static str, v: &str| v.strip_prefix(text).unwrap_or(v).to_owned();
            Some(Semantic::read(&plain("v", a))?.cmp(&Semantic::read(&plain("v", b))?))
        }
        Ecosystem::Pypi => Some(Python::read(a)?.cmp(&Python::read(b)?)),
        Ecosystem::Other => (a == b).then_some(Ordering::Equal),
    }
}

/// Epoch, upstream version and revision.
struct Parts<'a> {
    epoch: u64,
    version: &'a str,
    revision: &'a str,
}

fn epoch(text: &str) -> Option<Parts<'_>> {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().ok()?, rest),
        None => (0, text),
    };
    let (version, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (!version.is_empty()).then_some(Parts { epoch, version, revision })
}

fn deb(a: &Parts, b: &Parts) -> Ordering {
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| deb_part(a.version, b.version))
        // An absent revision is as good as 0.
        .then_with(|| deb_part(a.revision, b.revision))
}

/// Alternating parts: not digits by the order of `deb_rank`, digits by their number.
fn deb_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        let longest = text_a.len().max(text_b.len());
        let rank = |text: &str, at: usize| deb_rank(text.as_bytes().get(at).copied());
        let order = (0..longest).map(|at| rank(text_a, at).cmp(&rank(text_b, at)));
        let order = order.fold(Ordering::Equal, Ordering::then);
        let (digits_a, rest_a) = split(rest_a, |c| c.is_ascii_digit());
        let (digits_b, rest_b) = split(rest_b, |c| c.is_ascii_digit());
        let order = order.then_with(|| number(digits_a, digits_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// `~` before the end, the end before letters, letters before everything else.
fn deb_rank(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

fn rpm(a: &Parts, b: &Parts) -> Ordering {
    let order = a.epoch.cmp(&b.epoch).then_with(|| rpm_part(a.version, b.version));
    // A requirement without a release is met by every release.
    if a.revision.is_empty() || b.revision.is_empty() {
        return order;
    }
    order.then_with(|| rpm_part(a.revision, b.revision))
}

/// Segments of digits or letters; `~` sorts before everything, `^` after the end and before more.
fn rpm_part(mut a: &str, mut b: &str) -> Ordering {
    let separator = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
    loop {
        a = a.trim_start_matches(separator);
        b = b.trim_start_matches(separator);
        match (a.starts_with('~'), b.starts_with('~')) {
            (true, true) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        match (a.starts_with('^'), b.starts_with('^')) {
            (true, true) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (true, false) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (false, false) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = a.starts_with(|c: char| c.is_ascii_digit());
        let same = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let (segment_a, rest_a) = split(a, same);
        let (segment_b, rest_b) = split(b, same);
        if segment_b.is_empty() {
            // A number is newer than letters.
            return if digits { Ordering::Greater } else { Ordering::Less };
        }
        let order = if digits { number(segment_a, segment_b) } else { segment_a.cmp(segment_b) };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// `digits{.digits}[letter]{_suffix[digits]}[~hash][-rN]`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Apk {
    numbers: Vec<u64>,
    letter: Option<char>,
    suffixes: Vec<(i8, u64)>,
    revision: u64,
}

impl Apk {
    fn read(text: &str) -> Option<Self> {
        let (rest, revision) = match text.rsplit_once("-r") {
            Some((rest, revision)) => (rest, digits(revision)?),
            None => (text, 0),
        };
        let mut suffixes = rest.split('_');
        let mut version = suffixes.next()?;
        let letter = version.chars().last().filter(char::is_ascii_lowercase);
        if letter.is_some() {
            version = &version[..version.len() - 1];
        }
        let stated: Vec<&str> = version.split('.').collect();
        // From the second on, a leading zero makes it a fraction, of which nothing is known here.
        if stated.iter().skip(1).any(|part| part.len() > 1 && part.starts_with('0')) {
            return None;
        }
        let numbers = stated.into_iter().map(digits).collect::<Option<Vec<_>>>()?;
        let suffix = |text: &str| {
            let (name, number) = split(text, |c| c.is_ascii_lowercase());
            let rank = match name {
                "alpha" => -4,
                "beta" => -3,
                "pre" => -2,
                "rc" => -1,
                "cvs" => 1,
                "svn" => 2,
                "git" => 3,
                "hg" => 4,
                "p" => 5,
                _ => return None,
            };
            Some((rank, if number.is_empty() { 0 } else { digits(number)? }))
        };
        // The end is between what comes before a release and what comes after it.
        let mut suffixes = suffixes.map(suffix).collect::<Option<Vec<_>>>()?;
        suffixes.push((0, 0));
        Some(Self { numbers, letter, suffixes, revision })
    }
}

/// Semantic Versioning 2.0, clause 11; build metadata does not count.
#[derive(PartialEq, Eq)]
struct Semantic {
    numbers: [u64; 3],
    before: Vec<Identifier>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl Semantic {
    fn read(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (core, before) = match text.split_once('-') {
            Some((core, before)) => (core, Some(before)),
            None => (text, None),
        };
        let numbers: Vec<_> = core.split('.').map(digits).collect::<Option<_>>()?;
        let identifier = |text: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let valid = !text.is_empty() && text.chars().all(known);
            valid.then(|| {
                digits(text).map_or_else(|| Identifier::Text(text.to_owned()), Identifier::Number)
            })
        };
        let before = before.map(|text| text.split('.').map(identifier).collect::<Option<_>>());
        let before = match before {
            Some(identifiers) => identifiers?,
            None => Vec::new(),
        };
        Some(Self { numbers: numbers.try_into().ok()?, before })
    }
}

impl Ord for Semantic {
    fn cmp(&self, other: &Self) -> Ordering {
        let before = match (self.before.is_empty(), other.before.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.before.cmp(&other.before),
        };
        self.numbers.cmp(&other.numbers).then(before)
    }
}

impl PartialOrd for Semantic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `[N!]N(.N)*[{a|b|rc}N][.postN][.devN]`; a local version (`+...`) is newer than the same without.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Python {
    epoch: u64,
    release: Vec<u64>,
    /// (kind, number): development of the release itself, a, b, rc, the release.
    before: (u8, u64),
    post: Option<u64>,
    /// No `.dev` is newer than any.
    dev: (bool, u64),
    local: Vec<Local>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Text(String),
    Number(u64),
}

impl Python {
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (text, local) = match text.split_once('+') {
            Some((text, local)) => (text, Some(local)),
            None => (text, None),
        };
        let local = local.map(|local| {
            let part = |part: &str| {
                let valid = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
                valid.then(|| {
                    digits(part).map_or_else(|| Local::Text(part.to_owned()), Local::Number)
                })
            };
            local.split(['.', '-', '_']).map(part).collect::<Option<Vec<_>>>()
        });
        let (epoch, mut rest) = match text.split_once('!') {
            Some((epoch, rest)) => (digits(epoch)?, rest),
            None => (0, text),
        };
        let mut release = Vec::new();
        loop {
            let (number, after) = split(rest, |c| c.is_ascii_digit());
            release.push(digits(number)?);
            rest = after;
            match after.strip_prefix('.') {
                Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
                _ => break,
            }
        }
        // 1.0 and 1.0.0 are one.
        while release.len() > 1 && release.last() == Some(&0) {
            release.pop();
        }
        let (before, rest) =
            suffix(rest, &["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"])?;
        let (post, rest) = match rest.strip_prefix('-') {
            // 1.0-1 is 1.0.post1.
            Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                let (number, rest) = split(number, |c| c.is_ascii_digit());
                (Some(digits(number)?), rest)
            }
            _ => {
                let (post, rest) = suffix(rest, &["post", "rev", "r"])?;
                (post.map(|(_, number)| number), rest)
            }
        };
        let (dev, rest) = suffix(rest, &["dev"])?;
        if !rest.is_empty() {
            return None;
        }
        let before = match before {
            Some(("a" | "alpha", number)) => (1, number),
            Some(("b" | "beta", number)) => (2, number),
            Some((_, number)) => (3, number),
            None if post.is_none() && dev.is_some() => (0, 0),
            None => (4, 0),
        };
        let dev = dev.map_or((true, 0), |(_, number)| (false, number));
        let local = match local {
            Some(local) => local?,
            None => Vec::new(),
        };
        Some(Self { epoch, release, before, post, dev, local })
    }
}

/// A suffix of one of these names, with its number.
type Suffix<'a> = (Option<(&'static str, u64)>, &'a str);

fn suffix<'a>(text: &'a str, names: &[&'static str]) -> Option<Suffix<'a>> {
    let rest = text.strip_prefix(['.', '-', '_']).unwrap_or(text);
    let Some(name) = names.iter().find(|name| rest.starts_with(**name)) else {
        return Some((None, text));
    };
    let rest = &rest[name.len()..];
    let number = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
    let (number, after) = split(number, |c| c.is_ascii_digit());
    if number.is_empty() {
        return Some((Some((*name, 0)), rest));
    }
    Some((Some((*name, digits(number)?)), after))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Digits as a number, however many.
fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn digits(text: &str) -> Option<u64> {
    let only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    only.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::Ecosystem::{self, Apk, Cargo, Deb, Golang, Npm, Other, Pypi, Rpm};
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// Each line rises, by the named rules.
    const RISING: [(Ecosystem, &[&str]); 12] = [
        (
            Deb,
            &[
                "1.0~~",
                "1.0~~a",
                "1.0~",
                "1.0~rc1-1",
                "1.0",
                "1.0-1",
                "1.0-1+deb12u1",
                "1.0-1.1",
                "1.0a",
                "1.0+x",
                "1.0.1",
                "1.9",
                "1.10",
                "1:0.1",
            ],
        ),
        (
            Deb,
            &[
                "3.0.11-1~deb12u1",
                "3.0.11-1~deb12u2",
                "3.0.11-1",
                "3.0.11-1ubuntu2",
                "3.0.11-1ubuntu10",
            ],
        ),
        (Deb, &["1.2-3-1", "1.2-3-2", "1.2-10-1"]),
        (Rpm, &["1.0~rc1-1", "1.0-1", "1.0^git1-1", "1.0.1-1", "1.1-1", "1.10-1", "1:0.5-1"]),
        (Rpm, &["3.0.7-16.el9_2", "3.0.7-17.el9", "3.0.7-25.el9_3", "3.0.10-1.el9"]),
        (Rpm, &["1.0.a-1", "1.0.1-1", "1.0.10-1"]),
        (
            Apk,
            &[
                "1.2_alpha1",
                "1.2_alpha2",
                "1.2_beta",
                "1.2_rc1",
                "1.2",
                "1.2-r1",
                "1.2_p1",
                "1.2_p1-r3",
                "1.2.0",
                "1.2.1",
                "1.10-r0",
            ],
        ),
        (Apk, &["1.1.1t-r0", "1.1.1t-r2", "1.1.1u-r0", "3.0.8-r0", "3.0.12-r4"]),
        (
            Npm,
            &[
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "1.9.0",
                "1.10.0",
            ],
        ),
        (Cargo, &["0.9.9", "0.10.0-rc.1", "0.10.0"]),
        (
            Golang,
            &["v0.0.0-20230101000000-abcdef123456", "v0.17.0", "v1.2.0-rc1", "1.2.0", "v1.10.0"],
        ),
        (
            Pypi,
            &[
                "1.0.dev1",
                "1.0a1.dev1",
                "1.0a1",
                "1.0b2",
                "1.0rc1.dev4",
                "1.0rc1",
                "1.0",
                "1.0+local.1",
                "1.0.post1.dev1",
                "1.0.post1",
                "1.1.dev1",
                "1.1",
                "1.10",
                "1!0.1",
            ],
        ),
    ];

    #[test]
    fn versions_rise_as_their_package_managers_have_it() {
        for (rules, versions) in RISING {
            for (i, a) in versions.iter().enumerate() {
                for (j, b) in versions.iter().enumerate() {
                    assert_eq!(compare(rules, a, b), Some(i.cmp(&j)), "{rules:?}: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_in_two_ways_is_one_version() {
        for (rules, a, b) in [
            (Deb, "1.0", "0:1.0"),
            (Deb, "1.0-0", "1.0"),
            (Deb, "1.01", "1.1"),
            (Rpm, "1.0-1", "1.0"),
            (Rpm, "1_0-1", "1.0-1"),
            (Rpm, "1.0010-1", "1.10-1"),
            (Npm, "1.0.0+build1", "1.0.0+build2"),
            (Golang, "v1.2.3", "1.2.3"),
            (Pypi, "1.0", "1.0.0"),
            (Pypi, "1.0-1", "1.0.post1"),
            (Pypi, "1.0.RC1", "1.0c1"),
            (Other, "20231114", "20231114"),
        ] {
            assert_eq!(compare(rules, a, b), Some(Ordering::Equal), "{rules:?}: {a} and {b}");
        }
    }

    #[test]
    fn of_what_is_no_version_nothing_is_known() {
        for (rules, a, b) in [
            (Other, "1.0", "2.0"),
            (Npm, "1.0", "1.0.0"),
            (Npm, "latest", "1.0.0"),
            (Cargo, "99999999999999999999999.0.0", "1.0.0"),
            (Apk, "1.2_what", "1.2"),
            (Apk, "1.01", "1.1"),
            (Pypi, "1.0-foo", "1.0"),
            (Pypi, "", "1.0"),
            (Deb, "x:1", "1"),
            (Deb, ":", "1"),
            (Golang, "(devel)", "v1.0.0"),
        ] {
            assert_eq!(compare(rules, a, b), None, "{rules:?}: {a} and {b}");
            assert_eq!(compare(rules, b, a), None, "{rules:?}: {b} and {a}");
        }
    }

    proptest! {
        #[test]
        fn any_two_versions_compare_the_other_way_round(
            a in "[0-9]{1,2}([.~^+:_-][0-9a-z]{0,3}){0,4}", b in "[0-9]{1,2}([.~^+:_-][0-9a-z]{0,3}){0,4}",
            c in "[0-9]{1,2}([.~^+:_-][0-9a-z]{0,3}){0,4}",
        ) {
            for rules in [Deb, Rpm, Apk, Npm, Cargo, Golang, Pypi, Other] {
                let order = compare(rules, &a, &b);
                prop_assert_eq!(order, compare(rules, &b, &a).map(Ordering::reverse), "{:?}", rules);
                if rules != Rpm
                    && let (Some(one), Some(two)) = (order, compare(rules, &b, &c))
                    && one == two
                {
                    prop_assert_eq!(compare(rules, &a, &c), Some(one), "{:?}", rules);
                }
            }
        }
    }
}
