//! What one repository may cost: repositories come from outside, and a huge or
//! hostile one must end in a clear error, not in a full disk or a killed process.

use std::time::Duration;

/// Bounds on what is fetched and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that one fetch may receive.
    pub received_bytes: usize,
    /// Objects that one fetch may receive.
    pub received_objects: usize,
    /// References (branches, releases, notes) that a repository may have.
    pub references: usize,
    /// Bytes of one file read from a snapshot.
    pub file_bytes: usize,
    /// Files and folders visited by one [`crate::Snapshot::files`].
    pub files: usize,
    /// Bytes of all files returned by one [`crate::Snapshot::files`].
    pub files_bytes: usize,
    /// Packs in a mirror before it is cloned anew: libgit2 adds one for each fetch and never repacks.
    pub packs: usize,
    /// Fetches and pushes at a time, over all mirrors.
    pub transfers: usize,
    /// Time for a push, and for a fetch that another operation needs.
    pub deadline: Duration,
    /// Whether `file://` URLs are accepted: for tests only.
    pub file_urls: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            received_bytes: 1 << 30,
            received_objects: 5_000_000,
            references: 50_000,
            file_bytes: 8 << 20,
            files: 20_000,
            files_bytes: 64 << 20,
            packs: 200,
            transfers: 16,
            deadline: Duration::from_mins(1),
            file_urls: false,
        }
    }
}
