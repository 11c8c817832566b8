//! A mirror of one repository, as its users see it.
//!
//! git2's `Repository` is not `Sync` and blocks, so each job opens its own on a
//! blocking thread. Fetches and pushes of one mirror take turns; a fetch serves
//! everybody who asked before it started, so a thousand Syncs of one repository
//! cost one fetch. A job that its caller no longer waits for keeps its turn until
//! it is done.

use crate::fetch::fetch;
use crate::push::push;
use crate::site::{Site, commit_id, oid};
use crate::{Commit, Error, Heads, NewCommit, NewNote, Push, Snapshot, notes, write};
use git2::Sort;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_ids::CommitId;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

/// A bare copy of one repository.
pub struct Mirror {
    site: Arc<Site>,
    transfers: Arc<Semaphore>,
    turn: Arc<Mutex<LastFetch>>,
    started: AtomicU64,
}

/// The last fetch that ended, by number.
#[derive(Default)]
struct LastFetch {
    number: u64,
    outcome: Option<Result<Heads, Error>>,
}

impl Mirror {
    pub(crate) fn new(site: Site, transfers: Arc<Semaphore>) -> Self {
        let site = Arc::new(site);
        Self { site, transfers, turn: Arc::default(), started: AtomicU64::new(0) }
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// The repository's URL, which holds no secret.
    #[must_use]
    pub fn url(&self) -> &str {
        self.site.address.url()
    }

    /// The heads as last seen, without asking the server. Empty before the first fetch.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.site.heads()
    }

    /// Brings the mirror to the server's state. Callers that ask while a fetch runs share the next.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the credentials, has no such repository or too
    /// large a one, or when `deadline` passes.
    pub async fn fetch(&self, deadline: Duration) -> Result<Heads, Error> {
        let asked_after = self.started.load(Ordering::SeqCst);
        let until = Instant::now() + deadline;
        self.within("fetch", deadline, async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if let Some(outcome) = turn.outcome.as_ref().filter(|_| turn.number > asked_after)
                && !matches!(outcome, Err(Error::Deadline { .. }))
            {
                return outcome.clone();
            }
            let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
            self.transfer(turn, move |site, last| {
                let outcome = fetch(site, until);
                *last = LastFetch { number, outcome: Some(outcome.clone()) };
                outcome
            })
            .await
        })
        .await
    }

    /// Moves a reference on the server from `expected` to `new`. `expected: None` creates it. With an
    /// expected value even a rewritten branch is replaced, but never one that somebody else moved.
    ///
    /// # Errors
    /// As for [`Mirror::fetch`], or when the mirror has no such commit. After [`Error::Deadline`] or
    /// [`Error::Unreachable`] the push may have taken effect: the next fetch shows it.
    pub async fn push(
        &self,
        reference: &str,
        new: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<Push, Error> {
        let (reference, new, expected) = (reference.to_owned(), new.clone(), expected.cloned());
        self.writing("push", move |site, until| {
            push(site, &reference, &new, expected.as_ref(), until)
        })
        .await
    }

    /// Writes and signs a commit in the mirror; no reference moves, nothing is sent. The same input
    /// makes the same commit.
    ///
    /// # Errors
    /// When the parent or the tree's commit is not there, a path is not plain, or the disk fails.
    pub async fn commit(&self, new: NewCommit) -> Result<CommitId, Error> {
        self.local("write a commit", move |site| write::commit(site, &new)).await
    }

    /// The files of a commit. Blocks for one read of the disk.
    ///
    /// # Errors
    /// When the mirror has no such commit, or was lost: fetch, then try again.
    pub fn snapshot(&self, commit: &CommitId) -> Result<Snapshot, Error> {
        Snapshot::open(Arc::clone(&self.site), commit)
    }

    /// The commits that `to` has and `from` has not, newest first, at most `max`.
    ///
    /// # Errors
    /// When the mirror lacks one of them, or a commit is malformed.
    pub async fn commits(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        max: usize,
    ) -> Result<Vec<Commit>, Error> {
        let (from, to) = (from.cloned(), to.clone());
        self.local("list commits", move |site| commits(site, from.as_ref(), &to, max)).await
    }

    /// Whether `descendant` is `ancestor` or has it in its history. An ancestor that the mirror does
    /// not know is in no history.
    ///
    /// # Errors
    /// When the mirror lacks `descendant`.
    pub async fn is_ancestor(
        &self,
        ancestor: &CommitId,
        descendant: &CommitId,
    ) -> Result<bool, Error> {
        let (ancestor, descendant) = (ancestor.clone(), descendant.clone());
        self.local("compare commits", move |site| is_ancestor(site, &ancestor, &descendant)).await
    }

    /// The known-good note on a commit, as of the last fetch.
    ///
    /// # Errors
    /// When the mirror fails.
    pub async fn note(&self, commit: &CommitId) -> Result<Option<String>, Error> {
        let commit = commit.clone();
        self.local("read a note", move |site| notes::read(site, &commit)).await
    }

    /// Sets the known-good note on a commit, on the server, and keeps what others noted meanwhile.
    ///
    /// # Errors
    /// As for [`Mirror::push`].
    pub async fn set_note(&self, note: NewNote) -> Result<Push, Error> {
        self.writing("push", move |site, until| notes::set(site, &note, until)).await
    }

    async fn writing<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&Arc<Site>, Instant) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.restore().await?;
        let deadline = self.site.limits.deadline;
        let until = Instant::now() + deadline;
        self.within(doing, deadline, async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            self.transfer(turn, move |site, _| job(site, until)).await
        })
        .await
    }

    async fn local<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&Arc<Site>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.restore().await?;
        let site = Arc::clone(&self.site);
        let outcome = tokio::task::spawn_blocking(move || job(&site)).await;
        outcome.unwrap_or_else(|_| Err(self.unfinished(doing)))
    }

    /// Fetches where the folder was lost.
    async fn restore(&self) -> Result<(), Error> {
        let site = Arc::clone(&self.site);
        let exists = tokio::task::spawn_blocking(move || site.exists()).await;
        if !exists.unwrap_or(false) {
            self.fetch(self.site.limits.deadline).await?;
        }
        Ok(())
    }

    async fn transfer<T: Send + 'static>(
        &self,
        mut turn: OwnedMutexGuard<LastFetch>,
        job: impl FnOnce(&Arc<Site>, &mut LastFetch) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let slot = Arc::clone(&self.transfers).acquire_owned().await;
        let site = Arc::clone(&self.site);
        let outcome = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            job(&site, &mut turn)
        });
        outcome.await.unwrap_or_else(|_| Err(self.unfinished("transfer")))
    }

    async fn within<T>(
        &self,
        doing: &'static str,
        deadline: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late =
            || Error::Deadline { doing, url: self.url().to_owned(), seconds: deadline.as_secs() };
        match tokio::time::timeout(deadline, work).await {
            Ok(Err(Error::Deadline { .. })) | Err(_) => Err(late()),
            Ok(outcome) => outcome,
        }
    }

    fn unfinished(&self, doing: &'static str) -> Error {
        let why = "the job ended before it was done; see the engine's log".to_owned();
        Error::Git { doing, url: self.url().to_owned(), why }
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({})", self.url())
    }
}

fn commits(
    site: &Site,
    from: Option<&CommitId>,
    to: &CommitId,
    max: usize,
) -> Result<Vec<Commit>, Error> {
    let mirror = site.open()?;
    let failed = |error: git2::Error| site.broken("list commits", &error);
    let mut walk = mirror.revwalk().map_err(failed)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(failed)?;
    site.commit(&mirror, to)?;
    walk.push(oid(to)?).map_err(failed)?;
    if let Some(from) = from {
        site.commit(&mirror, from)?;
        walk.hide(oid(from)?).map_err(failed)?;
    }
    let mut found = Vec::new();
    for id in walk.take(max) {
        if let Some(id) = commit_id(id.map_err(failed)?) {
            found.push(site.commit(&mirror, &id)?);
        }
    }
    Ok(found)
}

fn is_ancestor(site: &Site, ancestor: &CommitId, descendant: &CommitId) -> Result<bool, Error> {
    let mirror = site.open()?;
    site.commit(&mirror, descendant)?;
    if ancestor == descendant {
        return Ok(true);
    }
    match site.commit(&mirror, ancestor) {
        Ok(_) => {}
        Err(Error::NoCommit { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    mirror
        .graph_descendant_of(oid(descendant)?, oid(ancestor)?)
        .map_err(|error| site.broken("compare commits", &error))
}
