//! What all jobs on one mirror share: where it is, how to reach its server, and
//! what is known of it. The folder is a cache and may be lost at any time; a read
//! that finds it damaged marks it, and the next fetch clones it anew.

use crate::address::Address;
use crate::error::plain;
use crate::{Credentials, Error, Heads, Limits};
use git2::{ErrorCode, Oid, Repository};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use tidegate_ids::CommitId;

pub(crate) struct Site {
    pub(crate) address: Address,
    pub(crate) credentials: Credentials,
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    heads: RwLock<Heads>,
    damaged: AtomicBool,
}

impl Site {
    pub(crate) fn new(
        address: Address,
        credentials: Credentials,
        folder: PathBuf,
        limits: Limits,
    ) -> Self {
        let site = Self {
            address,
            credentials,
            folder,
            limits,
            heads: RwLock::default(),
            damaged: AtomicBool::new(false),
        };
        if let Ok(heads) =
            Repository::open_bare(&site.folder).and_then(|mirror| Heads::read(&mirror))
        {
            site.learn(heads);
        }
        site
    }

    pub(crate) fn exists(&self) -> bool {
        self.folder.join("HEAD").is_file()
    }

    pub(crate) fn open(&self) -> Result<Repository, Error> {
        Repository::open_bare(&self.folder).map_err(|error| self.broken("open it", &error))
    }

    /// The heads as last seen.
    pub(crate) fn heads(&self) -> Heads {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn learn(&self, heads: Heads) {
        *self.heads.write().unwrap_or_else(PoisonError::into_inner) = heads;
    }

    /// An error of the mirror's own files, which marks the mirror as damaged.
    pub(crate) fn broken(&self, doing: &'static str, error: &git2::Error) -> Error {
        self.damaged.store(true, Ordering::Release);
        Error::Mirror { url: self.address.url().to_owned(), doing, why: plain(error.message()) }
    }

    /// Whether the mirror was marked as damaged; the mark is taken away.
    pub(crate) fn take_damage(&self) -> bool {
        self.damaged.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    pub(crate) fn no_commit(&self, commit: &CommitId) -> Error {
        Error::NoCommit { url: self.address.url().to_owned(), commit: commit.clone() }
    }

    /// The error of looking a commit up.
    pub(crate) fn missing(&self, commit: &CommitId, error: &git2::Error) -> Error {
        if error.code() == ErrorCode::NotFound {
            self.no_commit(commit)
        } else {
            self.broken("read a commit", error)
        }
    }

    /// Reads a commit.
    pub(crate) fn commit(
        &self,
        mirror: &Repository,
        id: &CommitId,
    ) -> Result<crate::Commit, Error> {
        let objects = mirror.odb().map_err(|error| self.broken("read a commit", &error))?;
        let object = objects.read(oid(id)?).map_err(|error| self.missing(id, &error))?;
        if object.kind() != git2::ObjectType::Commit {
            return Err(Error::Commit { commit: id.clone(), why: "it is no commit" });
        }
        crate::Commit::parse(id, object.data())
    }
}

pub(crate) fn oid(id: &CommitId) -> Result<Oid, Error> {
    hex(id, id.as_str())
}

/// The object id that stands in this commit.
pub(crate) fn hex(commit: &CommitId, text: &str) -> Result<Oid, Error> {
    Oid::from_str(text).map_err(|_| Error::Commit {
        commit: commit.clone(),
        why: "it names an object with a malformed id",
    })
}

/// libgit2's ids are hexadecimal by construction; anything else has no commit id.
pub(crate) fn commit_id(id: Oid) -> Option<CommitId> {
    id.to_string().parse().ok()
}
