//! Lengths of time as people write them: `30s`, `45m`, `24h`, `7d`, or several
//! together (`1h30m`). A day is 24 hours: a policy's length must not depend on
//! where and when it is read.

use crate::{ParseError, string_serde};

/// A length of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(u64);

impl Period {
    /// From whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// In whole seconds.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }

    /// As `jiff`'s signed type, for adding to timestamps. Saturates at its maximum.
    #[must_use]
    pub fn to_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl std::str::FromStr for Period {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong =
            || ParseError::new(text, "length of time", "it looks like 30s, 45m, 24h, 7d or 1h30m");
        let mut total: u64 = 0;
        let mut digits = String::new();
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86400,
                _ => return Err(wrong()),
            };
            let count: u64 = digits.parse().map_err(|_| wrong())?;
            digits.clear();
            total = count.checked_mul(unit).and_then(|s| total.checked_add(s)).ok_or_else(wrong)?;
        }
        if text.is_empty() || !digits.is_empty() { Err(wrong()) } else { Ok(Self(total)) }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (size, unit) in [(86400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

string_serde!(Period, "Period", "^([0-9]+[smhd])+$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_and_print_as_people_write_them() {
        for (text, seconds) in
            [("30s", 30), ("45m", 2700), ("1d", 86400), ("7d", 604_800), ("1h30m", 5400), ("0s", 0)]
        {
            let period: Period = text.parse().unwrap();
            assert_eq!(period, Period::seconds(seconds));
            assert_eq!(period.to_string(), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["", "30", "s", "5x", "1h30", "99999999999999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text} was accepted");
        }
    }
}
