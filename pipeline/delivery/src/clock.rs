//! The one place of this crate where time is read.

use jiff::Timestamp;

/// Now.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// How long until then, not below zero.
#[must_use]
pub fn until(then: Timestamp, now: Timestamp) -> std::time::Duration {
    then.duration_since(now).try_into().unwrap_or_default()
}
