//! A snapshot as the renderer reads it. Links and submodules are never followed: nothing is there.

use std::sync::Arc;

use tidegate_render::{Entry, Files};
use tidegate_source::Snapshot;

struct Tree(Snapshot);

impl Files for Tree {
    fn entry(&self, path: &str) -> Result<Entry, String> {
        use tidegate_source::Entry as Found;
        Ok(match self.0.entry(path).map_err(|error| error.to_string())? {
            Found::File(bytes) => Entry::File(bytes),
            Found::Directory(names) => Entry::Directory(names),
            Found::Symlink | Found::Submodule | Found::Missing => Entry::Missing,
        })
    }
}

/// The files of a commit, for the renderer.
#[must_use]
pub fn files(snapshot: Snapshot) -> Arc<dyn Files> {
    Arc::new(Tree(snapshot))
}
