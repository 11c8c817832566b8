//! What a render reads from, and the record of what it read.

use std::collections::BTreeSet;

use serde::Serialize;

/// What a render reads from: a snapshot of a Git tree.
///
/// Called off the async threads, one call at a time per render.
pub trait Files: Send + Sync {
    /// What is at `path`, which is relative to the repository, without a leading or trailing
    /// slash and without `.` or `..`; the root is the empty string. A symbolic link that leaves
    /// the snapshot is [`Entry::Missing`].
    ///
    /// # Errors
    /// Words for people, when the snapshot itself cannot be read.
    fn entry(&self, path: &str) -> Result<Entry, String>;
}

/// What is at a path of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The content of a file.
    File(Vec<u8>),
    /// The names in a folder; those of folders end with a slash.
    Directory(Vec<String>),
    /// Nothing, or nothing that may be read.
    Missing,
}

/// Everything a render depends on. It can be stored and compared across commits: while each of
/// these paths is unchanged, the same objects come out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Closure {
    /// Files whose content was read.
    pub files: BTreeSet<String>,
    /// Paths that were looked for and not found.
    pub missing: BTreeSet<String>,
    /// Folders whose list of names was read. A folder that was only found to exist is not here:
    /// what was read or missed inside it is.
    pub listed: BTreeSet<String>,
}
