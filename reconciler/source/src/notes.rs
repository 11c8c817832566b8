//! Notes on commits, pushed like any other reference.
//!
//! What completed its watch is marked as known good by a note on its commit, so
//! that Git alone tells what may be restored. Notes are written as signed commits
//! of the notes tree, one flat entry for each commit, as `git notes` reads them.

use crate::push::push;
use crate::site::{Site, oid};
use crate::write::write_signed;
use crate::{Error, NewCommit, Person, Push, SigningKey, Tree};
use git2::ErrorCode;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tidegate_ids::CommitId;

/// The reference of the notes that mark known good commits.
pub const KNOWN_GOOD: &str = "refs/notes/tidegate/known-good";

const FILE: i32 = 0o100_644;
const TRIES: usize = 4;

/// A note to be set, in place of the commit's former one.
#[derive(Debug, Clone)]
pub struct NewNote {
    /// The commit it is on.
    pub commit: CommitId,
    /// What it says.
    pub text: String,
    /// Who says so.
    pub author: Person,
    /// When, in whole seconds.
    pub time: Timestamp,
    /// The key that signs the notes' commit.
    pub key: SigningKey,
}

/// The note on a commit, as of the last fetch.
pub(crate) fn read(site: &Site, commit: &CommitId) -> Result<Option<String>, Error> {
    let mirror = site.open()?;
    match mirror.find_note(Some(KNOWN_GOOD), oid(commit)?) {
        Ok(note) => Ok(Some(String::from_utf8_lossy(note.message_bytes()).into_owned())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(site.broken("read a note", &error)),
    }
}

/// Sets a note on the server. Somebody else's note that came between is kept.
pub(crate) fn set(site: &Arc<Site>, note: &NewNote, until: Instant) -> Result<Push, Error> {
    let mut outcome = Push::Moved(None);
    for _ in 0..TRIES {
        let current = site.heads().get(KNOWN_GOOD).cloned();
        let new = written(site, note, current.as_ref())?;
        outcome = push(site, KNOWN_GOOD, &new, current.as_ref(), until)?;
        if !matches!(outcome, Push::Moved(_)) {
            break;
        }
        crate::fetch::fetch(site, until)?;
    }
    Ok(outcome)
}

fn written(
    site: &Arc<Site>,
    note: &NewNote,
    current: Option<&CommitId>,
) -> Result<CommitId, Error> {
    let mirror = site.open()?;
    let failed = |error: git2::Error| site.broken("write a note", &error);
    let base = match current {
        Some(id) => {
            let commit = mirror.find_commit(oid(id)?).map_err(|error| site.missing(id, &error))?;
            Some(commit.tree().map_err(failed)?)
        }
        None => None,
    };
    let mut tree = mirror.treebuilder(base.as_ref()).map_err(failed)?;
    let text = mirror.blob(note.text.as_bytes()).map_err(failed)?;
    tree.insert(note.commit.as_str(), text, FILE).map_err(failed)?;
    let tree = tree.write().map_err(failed)?;
    let new = NewCommit {
        parent: current.cloned(),
        tree: Tree::Files(BTreeMap::new()),
        message: format!("Note on {}\n", note.commit),
        author: note.author.clone(),
        time: note.time,
        key: note.key.clone(),
    };
    write_signed(site, &mirror, tree, &new)
}
