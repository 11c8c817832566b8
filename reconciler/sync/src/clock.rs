//! The one place of this crate where time is read.

use jiff::Timestamp;

/// Now.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
