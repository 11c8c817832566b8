//! What one render may use. The defaults are far above what a delivery repository needs; they
//! exist so that a bad commit costs one render, not the engine.

use std::time::Duration;

/// The largest frame in either direction, in bytes; the worker holds the same number.
pub(crate) const FRAME_BYTES: usize = 16 << 20;

/// Bounds of one render. Reaching one is an error that names it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for one render, the start of a worker included.
    pub deadline: Duration,
    /// Resident memory of a worker, in bytes; one above it is killed.
    pub memory_bytes: u64,
    /// One file, in bytes. It travels as base64 in a frame of 16 MiB.
    pub file_bytes: usize,
    /// All files of one render together, in bytes.
    pub total_bytes: usize,
    /// Paths that one render may ask for: files, folders and what is missing.
    pub paths: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            memory_bytes: 512 << 20,
            file_bytes: 8 << 20,
            total_bytes: 64 << 20,
            paths: 10_000,
        }
    }
}
