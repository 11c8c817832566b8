//! The files of one commit, read from the object database.
//!
//! There is no work tree, so there is nothing to follow: a symbolic link is an
//! entry that says so, a submodule too, and a path is a list of names. Sizes are
//! known before contents are read. Trees can be nested in a few hundred bytes so
//! that walking them never ends; the count covers folders for that reason.

use crate::path::{is_name, join, names};
use crate::site::{Site, hex};
use crate::{Commit, Error};
use git2::{ObjectType, Oid, Repository, Tree};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_ids::CommitId;

const DEEPEST: usize = 64;
const LINK: i32 = 0o120_000;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file, with its content.
    File(Vec<u8>),
    /// A folder, with the names in it; those of folders end with a slash.
    Directory(Vec<String>),
    /// A symbolic link: never followed.
    Symlink,
    /// A submodule: never followed.
    Submodule,
    /// Nothing.
    Missing,
}

/// The files of one commit. Each call blocks for as long as the disk takes: call it from a blocking
/// thread where much is read.
#[derive(Clone)]
pub struct Snapshot {
    site: Arc<Site>,
    commit: Arc<Commit>,
    root: Oid,
    /// An opened mirror that no call uses now: opening one costs more than reading most files.
    idle: Arc<Mutex<Option<Repository>>>,
}

/// An entry of a tree, before its content is read.
enum Found {
    Tree(Oid),
    File(Oid),
    Link,
    Submodule,
}

impl Snapshot {
    pub(crate) fn open(site: Arc<Site>, id: &CommitId) -> Result<Self, Error> {
        let commit = site.commit(&site.open()?, id)?;
        let root = hex(id, &commit.tree_id)?;
        Ok(Self { site, commit: Arc::new(commit), root, idle: Arc::default() })
    }

    /// Reads from the mirror, opened now or by an earlier call.
    fn with<T>(&self, read: impl FnOnce(&Repository) -> Result<T, Error>) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = idle().take();
        let mirror = opened.map_or_else(|| self.site.open(), Ok)?;
        let result = read(&mirror);
        if result.is_ok() {
            *idle() = Some(mirror);
        }
        result
    }

    /// The commit's id.
    #[must_use]
    pub fn commit(&self) -> &CommitId {
        &self.commit.id
    }

    /// The commit.
    #[must_use]
    pub fn details(&self) -> &Commit {
        &self.commit
    }

    /// What stands at this path, counted from the root.
    ///
    /// # Errors
    /// When the path is not plain, leads through a link, the file is too large, or the mirror fails.
    pub fn entry(&self, path: &str) -> Result<Entry, Error> {
        self.with(|mirror| match self.find(mirror, path)? {
            None => Ok(Entry::Missing),
            Some(Found::Link) => Ok(Entry::Symlink),
            Some(Found::Submodule) => Ok(Entry::Submodule),
            Some(Found::File(id)) => Ok(Entry::File(self.blob(mirror, id, path)?)),
            Some(Found::Tree(id)) => {
                let tree = self.tree(mirror, id)?;
                let listed = tree.iter().map(|entry| {
                    let slash = if entry.kind() == Some(ObjectType::Tree) { "/" } else { "" };
                    Ok(plain_name(&entry, path)? + slash)
                });
                Ok(Entry::Directory(listed.collect::<Result<_, Error>>()?))
            }
        })
    }

    /// The id of the tree or file at this path: equal content has an equal id. `None` where nothing
    /// or a link stands.
    ///
    /// # Errors
    /// As for [`Snapshot::entry`].
    pub fn tree_id(&self, path: &str) -> Result<Option<String>, Error> {
        self.with(|mirror| {
            Ok(match self.find(mirror, path)? {
                Some(Found::Tree(id) | Found::File(id)) => Some(id.to_string()),
                _ => None,
            })
        })
    }

    /// All files below a folder, by their paths from the repository's root. Links and submodules are
    /// left out; [`Snapshot::entry`] tells where they are.
    ///
    /// # Errors
    /// When there is no such folder, when there is too much in it, or as for [`Snapshot::entry`].
    pub fn files(&self, folder: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        self.with(|mirror| self.files_of(mirror, folder))
    }

    fn files_of(
        &self,
        mirror: &Repository,
        folder: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let Some(Found::Tree(root)) = self.find(mirror, folder)? else {
            let (path, commit) = (folder.to_owned(), self.commit().clone());
            return Err(Error::NoFolder { path, commit });
        };
        let limits = &self.site.limits;
        let (mut files, mut visited, mut bytes) = (BTreeMap::new(), 0, 0);
        let mut folders = vec![(names(folder)?.join("/"), root, 0)];
        while let Some((path, id, depth)) = folders.pop() {
            for entry in &self.tree(mirror, id)? {
                visited += 1;
                if visited > limits.files {
                    return Err(self.too_much(folder, "files and folders", limits.files));
                }
                let below = join(&path, &plain_name(&entry, &path)?);
                match found(&entry) {
                    Some(Found::Tree(_)) if depth == DEEPEST => {
                        return Err(self.too_much(&below, "levels of folders above it", DEEPEST));
                    }
                    Some(Found::Tree(id)) => folders.push((below, id, depth + 1)),
                    Some(Found::File(id)) => {
                        let content = self.blob(mirror, id, &below)?;
                        bytes += content.len();
                        if bytes > limits.files_bytes {
                            return Err(self.too_much(
                                folder,
                                "bytes in its files",
                                limits.files_bytes,
                            ));
                        }
                        files.insert(below, content);
                    }
                    Some(Found::Link | Found::Submodule) | None => {}
                }
            }
        }
        Ok(files)
    }

    /// The tree at a folder.
    pub(crate) fn folder(&self, mirror: &Repository, path: &str) -> Result<Oid, Error> {
        match self.find(mirror, path)? {
            Some(Found::Tree(id)) => Ok(id),
            _ => Err(Error::NoFolder { path: path.to_owned(), commit: self.commit().clone() }),
        }
    }

    fn find(&self, mirror: &Repository, path: &str) -> Result<Option<Found>, Error> {
        let names = names(path)?;
        let mut current = Found::Tree(self.root);
        for (depth, name) in names.iter().enumerate() {
            let so_far = || names.get(..depth).unwrap_or_default().join("/");
            let id = match current {
                Found::Tree(id) => id,
                Found::File(_) => return Ok(None),
                Found::Link => {
                    return Err(Error::NotFollowed { path: so_far(), what: "symbolic link" });
                }
                Found::Submodule => {
                    return Err(Error::NotFollowed { path: so_far(), what: "submodule" });
                }
            };
            match self.tree(mirror, id)?.get_name(name).as_ref().and_then(found) {
                Some(next) => current = next,
                None => return Ok(None),
            }
        }
        Ok(Some(current))
    }

    fn tree<'a>(&self, mirror: &'a Repository, id: Oid) -> Result<Tree<'a>, Error> {
        mirror.find_tree(id).map_err(|error| self.site.broken("read a folder", &error))
    }

    fn blob(&self, mirror: &Repository, id: Oid, path: &str) -> Result<Vec<u8>, Error> {
        let broken = |error: git2::Error| self.site.broken("read a file", &error);
        let objects = mirror.odb().map_err(broken)?;
        let (size, _) = objects.read_header(id).map_err(broken)?;
        let limit = self.site.limits.file_bytes;
        if size > limit {
            return Err(self.too_much(path, "bytes", limit));
        }
        Ok(objects.read(id).map_err(broken)?.data().to_vec())
    }

    fn too_much(&self, path: &str, what: &'static str, limit: usize) -> Error {
        Error::TooMuch { path: path.to_owned(), commit: self.commit().clone(), what, limit }
    }
}

fn plain_name(entry: &git2::TreeEntry<'_>, folder: &str) -> Result<String, Error> {
    match entry.name() {
        Ok(name) if is_name(name) => Ok(name.to_owned()),
        _ => Err(Error::Path {
            path: join(
                folder,
                &String::from_utf8_lossy(entry.name_bytes()).escape_default().to_string(),
            ),
            why: "its name is no plain UTF-8 name; rename it in the repository",
        }),
    }
}

fn found(entry: &git2::TreeEntry<'_>) -> Option<Found> {
    match entry.kind()? {
        ObjectType::Tree => Some(Found::Tree(entry.id())),
        ObjectType::Blob if entry.filemode() == LINK => Some(Found::Link),
        ObjectType::Blob => Some(Found::File(entry.id())),
        ObjectType::Commit => Some(Found::Submodule),
        _ => None,
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({} of {})", self.commit(), self.site.address.url())
    }
}
