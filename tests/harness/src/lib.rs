//! The lab as seen by tests.
