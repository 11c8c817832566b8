//! End-to-end tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails where it stands"
)]

mod admission;
mod bad_input;
mod cluster;
mod command;
mod getting_started;
mod keys;
mod running;
mod standalone;
mod story;
mod summaries;
mod ward;
