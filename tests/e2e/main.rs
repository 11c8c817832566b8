//! End-to-end tests.

mod admission;
mod cluster;
