//! Version ranges by the rules of Masterminds' `semver` for Go, which Helm, Flux,
//! Kargo and Renovate users know; Cargo's differ (there a bare version is `^`).
//!
//! A bare full version is exact and a bare partial one is that series (`17.0` is
//! `~17.0`); `,` and space join with and, `||` with or; `1.2 - 1.4.5` is a closed
//! span; `x`, `X` and `*` are wildcards. Pre-releases fit only where the range
//! itself names one in the same alternative (`>=1.2.0-0 <2`).

use crate::{Error, Version};
use std::cmp::Ordering;

/// The longest range that is read, in bytes.
const MAX_RANGE: usize = 256;

/// A parsed range: alternatives of comparators that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<Vec<Comparator>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Tilde,
    Caret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparator {
    operator: Operator,
    /// Numbers that are wildcards or not stated are 0; `stated` counts the others.
    version: Version,
}

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 12] = [
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("!=", Operator::NotEqual),
    ("~>", Operator::Tilde),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl std::str::FromStr for Range {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |part: &str| Error::Range {
            range: text.chars().take(MAX_RANGE).collect(),
            part: part.chars().take(MAX_RANGE).collect(),
        };
        if text.len() > MAX_RANGE {
            return Err(wrong(text));
        }
        text.split("||")
            .map(|part| alternative(part).map_err(wrong))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The comparators of one alternative; the part that cannot be read otherwise.
fn alternative(text: &str) -> Result<Vec<Comparator>, &str> {
    let words: Vec<&str> = text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let mut rest = words.as_slice();
    while let [first, more @ ..] = rest {
        rest = more;
        if let [dash, last, after @ ..] = rest
            && *dash == "-"
        {
            found.push(comparator(Operator::GreaterOrEqual, first)?);
            found.push(comparator(Operator::LessOrEqual, last)?);
            rest = after;
            continue;
        }
        let (operator, version) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, first.strip_prefix(sign)?)))
            .unwrap_or((Operator::Equal, first));
        if version.is_empty() {
            let [next, after @ ..] = rest else { return Err(first) };
            rest = after;
            found.push(comparator(operator, next)?);
        } else {
            found.push(comparator(operator, version)?);
        }
    }
    if found.is_empty() { Err(text) } else { Ok(found) }
}

fn comparator(operator: Operator, text: &str) -> Result<Comparator, &str> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let wildcard = |part: &str| matches!(part, "x" | "X" | "*");
    let parts: Vec<&str> = bare.split('.').collect();
    let version = match parts.iter().position(|part| wildcard(part)) {
        None => Version::parse(bare).ok_or(text)?,
        Some(_) if parts.len() > 3 => return Err(text),
        Some(at) => {
            if !parts.iter().skip(at).all(|part| wildcard(part)) {
                return Err(text);
            }
            let known = parts.get(..at).unwrap_or_default().join(".");
            let mut version = Version::parse(if at == 0 { "0" } else { &known }).ok_or(text)?;
            version.stated = at;
            version
        }
    };
    let pointless = matches!(operator, Operator::Greater | Operator::Less | Operator::NotEqual);
    if version.stated == 0 && pointless { Err(text) } else { Ok(Comparator { operator, version }) }
}

impl Range {
    /// Whether a version is in the range.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().any(|all| {
            let asked = all.iter().any(|c| c.version.is_pre_release());
            (asked || !version.is_pre_release()) && all.iter().all(|c| c.admits(version))
        })
    }
}

impl Comparator {
    fn admits(&self, version: &Version) -> bool {
        let order = version.precedence(&self.version);
        let series = self.in_series(version, self.version.stated);
        match self.operator {
            _ if self.version.stated == 0 => true,
            Operator::Equal if self.version.stated == 3 => self.equals(version),
            Operator::Equal => series && order != Ordering::Less,
            Operator::NotEqual if self.version.stated == 3 => !self.equals(version),
            Operator::NotEqual => !series,
            Operator::Greater => {
                order == Ordering::Greater && (self.version.stated == 3 || !series)
            }
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => {
                order != Ordering::Greater || (self.version.stated < 3 && series)
            }
            Operator::Tilde => {
                order != Ordering::Less && self.in_series(version, self.version.stated.min(2))
            }
            Operator::Caret => order != Ordering::Less && self.is_compatible(version),
        }
    }

    /// The same version; where the range states a date, the same build of it.
    fn equals(&self, version: &Version) -> bool {
        version.precedence(&self.version) == Ordering::Equal
            && (self.version.date.is_empty() || self.version.date == version.date)
    }

    /// Whether the first numbers are the same.
    fn in_series(&self, version: &Version, count: usize) -> bool {
        version.numbers.iter().zip(&self.version.numbers).take(count).all(|(a, b)| a == b)
    }

    /// The same up to the first stated number that is not 0.
    fn is_compatible(&self, version: &Version) -> bool {
        let stated = self.version.stated;
        let significant = self
            .version
            .numbers
            .iter()
            .take(stated)
            .position(|number| *number != 0)
            .map_or(stated, |at| at + 1);
        self.in_series(version, significant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(range: &str, version: &str) -> bool {
        range.parse::<Range>().unwrap().contains(&Version::parse(version).unwrap())
    }

    #[test]
    fn ranges_mean_what_masterminds_says() {
        for (range, inside, outside) in [
            ("1.2.3", &["1.2.3", "v1.2.3"][..], &["1.2.4", "1.3.0", "1.2.3-rc.1"][..]),
            ("=1.2.3", &["1.2.3"], &["1.2.4"]),
            ("17.0", &["17.0", "17.0.5", "17.0-20251120"], &["17.1", "18.0"]),
            ("~17.0", &["17.0.0", "17.0.9", "17.0-20251120"], &["17.1.0", "16.9.9"]),
            ("~1", &["1.0.0", "1.9.9"], &["2.0.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
            ("~>1.2.3", &["1.2.9"], &["1.3.0"]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("^0.0", &["0.0.0", "0.0.9"], &["0.1.0"]),
            ("^0", &["0.0.1", "0.9.0"], &["1.0.0"]),
            ("1.2.x", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("1.X", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("*", &["0.0.1", "99.0.0"], &["1.0.0-rc.1"]),
            (">=1.2.x", &["1.2.0", "3.0.0"], &["1.1.9"]),
            (">1.2", &["1.3.0", "2.0.0"], &["1.2.0", "1.2.9"]),
            (">11", &["12.0.0"], &["11.1.0"]),
            (">1.2.3", &["1.2.4"], &["1.2.3"]),
            ("<=11", &["11.5.0", "10.0.0"], &["12.0.0"]),
            ("<=1.2", &["1.2.9"], &["1.3.0"]),
            ("<2", &["1.9.9"], &["2.0.0"]),
            ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
            ("!=1.2.x", &["1.3.0"], &["1.2.0", "1.2.7"]),
            (">=1.2, <2", &["1.2.0"], &["2.0.0", "1.1.0"]),
            (">= 1.2 < 2.0.0", &["1.5.0"], &["2.0.0"]),
            ("1.2 - 1.4.5", &["1.2.0", "1.4.5"], &["1.4.6", "1.1.0"]),
            ("1.2 - 1.4", &["1.4.9"], &["1.5.0"]),
            ("<1 || >=2.3", &["0.9.0", "2.3.0"], &["1.0.0", "2.2.0"]),
            (">=1.2.0-0 <2", &["1.3.0-rc.1", "1.3.0"], &["2.0.0"]),
            ("~1.2.3-beta.2", &["1.2.3-beta.4", "1.2.3", "1.2.9"], &["1.2.3-beta.1"]),
            ("17.0.0-20251120", &["17.0-20251120"], &["17.0-20251121", "17.0.0"]),
        ] {
            for version in inside {
                assert!(fits(range, version), "{version} is not in {range}");
            }
            for version in outside {
                assert!(!fits(range, version), "{version} is in {range}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_part() {
        for (range, part) in [
            ("", ""),
            ("1.2 ||", ""),
            ("latest", "latest"),
            (">=1.2 <abc", "abc"),
            (">=", ">="),
            ("1.x.3", "1.x.3"),
            ("1.2.3.x", "1.2.3.x"),
            (">*", "*"),
            ("1.2.3.4", "1.2.3.4"),
        ] {
            let error = range.parse::<Range>().unwrap_err();
            assert_eq!(error, Error::Range { range: range.into(), part: part.into() }, "{range}");
        }
        assert!("1 ".repeat(200).parse::<Range>().is_err());
    }
}
