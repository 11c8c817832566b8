//! Writing commits: objects only, no reference moves.
//!
//! The same input makes the same commit: the time is the caller's, Ed25519 has no
//! randomness, and nothing is taken from the machine. So a retry after a crash
//! finds its own commit instead of making a second one. A token's ECDSA key has
//! randomness: there the push, a compare-and-swap, keeps a retry from adding a
//! second commit, and the caller finds its own by what the message states.

use crate::path::names;
use crate::site::{Site, commit_id, oid};
use crate::{Error, Person, SigningKey, Snapshot, signature};
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, Signature, Time};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_ids::CommitId;

const FILE: i32 = 0o100_644;
const FOLDER: i32 = 0o040_000;

/// The content of a new commit.
#[derive(Debug, Clone)]
pub enum Tree {
    /// These files, by path from the root, and nothing else.
    Files(BTreeMap<String, Vec<u8>>),
    /// Exactly what a folder of another commit holds; `""` is all of it.
    Of {
        /// The other commit.
        commit: CommitId,
        /// The folder in it.
        folder: String,
    },
    /// What the parent holds, with these files beside or in place of it; without a parent, these.
    Added(BTreeMap<String, Vec<u8>>),
}

/// A commit to be made and signed.
#[derive(Debug, Clone)]
pub struct NewCommit {
    /// The commit before, if any.
    pub parent: Option<CommitId>,
    /// The content.
    pub tree: Tree,
    /// The whole message; see [`crate::with_trailers`].
    pub message: String,
    /// Author and committer.
    pub author: Person,
    /// The time of both, in whole seconds.
    pub time: Timestamp,
    /// The key that signs.
    pub key: SigningKey,
}

pub(crate) fn commit(site: &Arc<Site>, new: &NewCommit) -> Result<CommitId, Error> {
    let mirror = site.open()?;
    let tree = match (&new.tree, &new.parent) {
        (Tree::Added(files), Some(parent)) => add_files(site, &mirror, files, parent)?,
        (Tree::Files(files) | Tree::Added(files), _) => write_files(site, &mirror, files)?,
        (Tree::Of { commit, folder }, _) => {
            Snapshot::open(Arc::clone(site), commit)?.folder(&mirror, folder)?
        }
    };
    write_signed(site, &mirror, tree, new)
}

/// Writes the commit object for a tree that is already there; `new.tree` is not looked at.
pub(crate) fn write_signed(
    site: &Site,
    mirror: &Repository,
    tree: Oid,
    new: &NewCommit,
) -> Result<CommitId, Error> {
    let failed = |error: git2::Error| site.broken("write a commit", &error);
    let tree = mirror.find_tree(tree).map_err(failed)?;
    let parent = match &new.parent {
        Some(id) => Some(mirror.find_commit(oid(id)?).map_err(|error| site.missing(id, &error))?),
        None => None,
    };
    let refused = |why: String| Error::Git {
        doing: "write a commit",
        url: site.address.url().to_owned(),
        why,
    };
    let person =
        Signature::new(&new.author.name, &new.author.email, &Time::new(new.time.as_second(), 0))
            .map_err(|error| refused(error.message().to_owned()))?;
    if new.message.contains('\0') {
        return Err(refused("its message holds a NUL".to_owned()));
    }
    let parents: Vec<_> = parent.iter().collect();
    let payload = mirror
        .commit_create_buffer(&person, &person, &new.message, &tree, &parents)
        .map_err(failed)?;
    let payload = payload.as_str().map_err(failed)?;
    let signature = signature::sign(&new.key, payload.as_bytes())?;
    let id = mirror.commit_signed(payload, &signature, None).map_err(failed)?;
    commit_id(id).ok_or_else(|| refused("it has an id that is no SHA-1".to_owned()))
}

/// A folder that is being put together.
enum Node<'a> {
    File(&'a [u8]),
    Folder(BTreeMap<&'a str, Node<'a>>),
}

fn write_files(
    site: &Site,
    mirror: &Repository,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Oid, Error> {
    let mut root = BTreeMap::new();
    for (path, content) in files {
        place(&mut root, path, content)?;
    }
    write_folder(mirror, &root).map_err(|error| site.broken("write files", &error))
}

fn add_files(
    site: &Site,
    mirror: &Repository,
    files: &BTreeMap<String, Vec<u8>>,
    parent: &CommitId,
) -> Result<Oid, Error> {
    let mut root = BTreeMap::new();
    for (path, content) in files {
        place(&mut root, path, content)?;
    }
    let base = mirror
        .find_commit(oid(parent)?)
        .and_then(|commit| commit.tree())
        .map_err(|error| site.missing(parent, &error))?;
    let mut changes = TreeUpdateBuilder::new();
    let written = files.iter().try_for_each(|(path, content)| {
        let blob = mirror.blob(content)?;
        changes.upsert(path.as_str(), blob, FileMode::Blob);
        Ok(())
    });
    written
        .and_then(|()| changes.create_updated(mirror, &base))
        .map_err(|error| site.broken("write files", &error))
}

fn place<'a>(
    root: &mut BTreeMap<&'a str, Node<'a>>,
    path: &'a str,
    content: &'a [u8],
) -> Result<(), Error> {
    let refuse = |why| Error::Path { path: path.to_owned(), why };
    let names = names(path)?;
    let Some((file, folders)) = names.split_last() else {
        return Err(refuse("a file needs a name"));
    };
    if names.iter().any(|name| name.eq_ignore_ascii_case(".git")) {
        return Err(refuse("no file may lie in a folder named .git"));
    }
    let mut here = root;
    for folder in folders {
        match here.entry(folder).or_insert_with(|| Node::Folder(BTreeMap::new())) {
            Node::Folder(next) => here = next,
            Node::File(_) => return Err(refuse("a file stands where it needs a folder")),
        }
    }
    match here.insert(file, Node::File(content)) {
        None => Ok(()),
        Some(_) => Err(refuse("it stands twice, or a folder stands there")),
    }
}

fn write_folder(mirror: &Repository, nodes: &BTreeMap<&str, Node<'_>>) -> Result<Oid, git2::Error> {
    let mut tree = mirror.treebuilder(None)?;
    for (name, node) in nodes {
        match node {
            Node::File(content) => tree.insert(name, mirror.blob(content)?, FILE)?,
            Node::Folder(below) => tree.insert(name, write_folder(mirror, below)?, FOLDER)?,
        };
    }
    tree.write()
}
