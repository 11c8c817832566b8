//! Fetching into a mirror, and healing it.
//!
//! All branches, Tidegate's references and its notes are taken under their own
//! names, forced and pruned, so that the mirror is the server's state and nothing
//! else. A mirror that is missing, damaged or made of too many packs is cloned
//! beside the old one and then takes its place.

use crate::Error;
use crate::error::plain;
use crate::site::{Site, commit_id};
use git2::{
    AutotagOption, Cred, ErrorClass, ErrorCode, FetchOptions, FetchPrune, RemoteCallbacks,
    RemoteRedirect, Repository,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tidegate_ids::CommitId;

const REFSPECS: [&str; 3] = [
    "+refs/heads/*:refs/heads/*",
    "+refs/tidegate/*:refs/tidegate/*",
    "+refs/notes/tidegate/*:refs/notes/tidegate/*",
];

/// The references of a repository by their full names, and the commits they name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads(Arc<BTreeMap<String, CommitId>>);

impl Heads {
    /// The commit of a reference, by its full name (`refs/heads/main`).
    #[must_use]
    pub fn get(&self, reference: &str) -> Option<&CommitId> {
        self.0.get(reference)
    }

    /// The head of a branch, by its short name (`main`).
    ///
    /// # Errors
    /// [`Error::NoBranch`], naming some that exist.
    pub fn branch(&self, name: &str) -> Result<&CommitId, Error> {
        const NAMED: usize = 5;
        self.get(&format!("refs/heads/{name}")).ok_or_else(|| {
            let branches = || self.0.keys().filter_map(|name| name.strip_prefix("refs/heads/"));
            let mut present: Vec<&str> = branches().take(NAMED).collect();
            if branches().nth(NAMED).is_some() {
                present.push("...");
            }
            let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
            Error::NoBranch { branch: name.to_owned(), present }
        })
    }

    /// All references, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &CommitId)> {
        self.0.iter().map(|(name, id)| (name.as_str(), id))
    }

    /// These heads, with one changed.
    pub(crate) fn with(&self, reference: &str, commit: &CommitId) -> Self {
        let mut map = (*self.0).clone();
        map.insert(reference.to_owned(), commit.clone());
        Self(Arc::new(map))
    }

    pub(crate) fn read(mirror: &Repository) -> Result<Self, git2::Error> {
        let mut map = BTreeMap::new();
        for reference in mirror.references()? {
            let reference = reference?;
            if let (Ok(name), Some(id)) = (reference.name(), reference.target().and_then(commit_id))
            {
                map.insert(name.to_owned(), id);
            }
        }
        Ok(Self(Arc::new(map)))
    }
}

/// What the callbacks of one transfer noticed: libgit2's own errors do not tell it.
#[derive(Default)]
pub(crate) struct Seen {
    challenged: Cell<bool>,
    late: Cell<bool>,
    too_many: Cell<Option<(&'static str, usize)>>,
}

/// Brings the mirror to the server's state.
pub(crate) fn fetch(site: &Site, until: Instant) -> Result<Heads, Error> {
    if site.take_damage() || !site.exists() || packs(&site.folder) > site.limits.packs {
        return renew(site, until).inspect_err(|_| site.mark_damaged());
    }
    match site.open().and_then(|mirror| fetch_into(&mirror, site, until)) {
        Err(Error::Mirror { why, .. }) => {
            tracing::warn!(
                url = site.address.url(),
                why,
                "the mirror is damaged and is cloned anew"
            );
            renew(site, until).inspect_err(|_| site.mark_damaged())
        }
        other => other,
    }
}

/// Clones beside the old mirror, then takes its place.
fn renew(site: &Site, until: Instant) -> Result<Heads, Error> {
    let (fresh, old) = (site.folder.with_extension("new"), site.folder.with_extension("old"));
    let failed = |error: std::io::Error| Error::Mirror {
        url: site.address.url().to_owned(),
        doing: "replace it",
        why: error.to_string(),
    };
    for leftover in [&fresh, &old] {
        remove(leftover).map_err(failed)?;
    }
    let mirror = Repository::init_bare(&fresh).map_err(|error| site.broken("create it", &error))?;
    let heads = fetch_into(&mirror, site, until)?;
    drop(mirror);
    if site.folder.exists() {
        std::fs::rename(&site.folder, &old).map_err(failed)?;
    }
    std::fs::rename(&fresh, &site.folder).map_err(failed)?;
    site.take_damage();
    remove(&old).map_err(failed)?;
    Ok(heads)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            std::fs::remove_file(folder)
        }
        other => other,
    }
}

fn packs(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder.join("objects/pack"));
    let is_pack = |path: &Path| path.extension().is_some_and(|extension| extension == "pack");
    entries.map_or(0, |entries| entries.flatten().filter(|entry| is_pack(&entry.path())).count())
}

fn fetch_into(mirror: &Repository, site: &Site, until: Instant) -> Result<Heads, Error> {
    const DOING: &str = "fetch";
    let seen = Seen::default();
    let header = site.credentials.header();
    let mut options = FetchOptions::new();
    options
        .prune(FetchPrune::On)
        .update_fetchhead(false)
        .download_tags(AutotagOption::None)
        .follow_redirects(RemoteRedirect::None)
        .custom_headers(&header.iter().map(String::as_str).collect::<Vec<_>>())
        .remote_callbacks(fetch_callbacks(site, until, &seen));
    let mut remote =
        mirror.remote_anonymous(site.address.url()).map_err(|error| site.broken(DOING, &error))?;
    remote
        .fetch(&REFSPECS, Some(&mut options), None)
        .map_err(|error| explain(site, DOING, &seen, &error))?;
    let heads = Heads::read(mirror).map_err(|error| site.broken("read its references", &error))?;
    complete(mirror, site, &heads)?;
    site.learn(heads.clone());
    Ok(heads)
}

/// A reference to an object that is not there: the mirror lost something.
fn complete(mirror: &Repository, site: &Site, heads: &Heads) -> Result<(), Error> {
    if heads.0.len() > site.limits.references {
        let limit = site.limits.references;
        return Err(Error::TooLarge {
            url: site.address.url().to_owned(),
            what: "references",
            limit,
        });
    }
    let objects = mirror.odb().map_err(|error| site.broken("open its objects", &error))?;
    for id in heads.0.values() {
        if !objects.exists(crate::site::oid(id)?) {
            return Err(
                site.broken("hold its heads", &git2::Error::from_str("a head's commit is missing"))
            );
        }
    }
    Ok(())
}

fn fetch_callbacks<'a>(site: &'a Site, until: Instant, seen: &'a Seen) -> RemoteCallbacks<'a> {
    let limits = &site.limits;
    let mut updated = 0_usize;
    let mut callbacks = callbacks(until, seen);
    callbacks.transfer_progress(move |progress| {
        if progress.received_bytes() > limits.received_bytes {
            seen.too_many.set(Some(("bytes to fetch", limits.received_bytes)));
        } else if progress.total_objects() > limits.received_objects {
            seen.too_many.set(Some(("objects to fetch", limits.received_objects)));
        }
        seen.too_many.get().is_none() && seen.in_time(until)
    });
    callbacks.update_tips(move |_, _, new| {
        updated += usize::from(!new.is_zero());
        if updated > limits.references {
            seen.too_many.set(Some(("references", limits.references)));
        }
        seen.too_many.get().is_none()
    });
    callbacks
}

impl Seen {
    pub(crate) fn in_time(&self, until: Instant) -> bool {
        let in_time = Instant::now() < until;
        self.late.set(self.late.get() || !in_time);
        in_time
    }
}

/// The callbacks that fetch and push share.
pub(crate) fn callbacks(until: Instant, seen: &Seen) -> RemoteCallbacks<'_> {
    let mut callbacks = RemoteCallbacks::new();
    // The header has already been sent, so a question means that it was refused. Refusing to answer
    // also ends libgit2's loop of questions.
    callbacks.credentials(move |_, _, _| -> Result<Cred, git2::Error> {
        seen.challenged.set(true);
        Err(git2::Error::from_str("the credentials were refused"))
    });
    callbacks.sideband_progress(move |_| seen.in_time(until));
    callbacks
}

/// What libgit2's error means for the person who runs the engine.
pub(crate) fn explain(site: &Site, doing: &'static str, seen: &Seen, error: &git2::Error) -> Error {
    let address = &site.address;
    let (url, host, why) =
        (address.url().to_owned(), address.host().to_owned(), plain(error.message()));
    let status = |code: &str| error.class() == ErrorClass::Http && why.contains(code);
    if let Some((what, limit)) = seen.too_many.get() {
        Error::TooLarge { url, what, limit }
    } else if seen.late.get() {
        Error::Deadline { doing, url, seconds: site.limits.deadline.as_secs() }
    } else if seen.challenged.get()
        || error.code() == ErrorCode::Auth
        || status("401")
        || status("403")
    {
        if site.credentials.is_none() {
            Error::CredentialsWanted { url }
        } else {
            Error::CredentialsRefused { url, doing }
        }
    } else if error.code() == ErrorCode::Certificate {
        Error::Certificate { host, why }
    } else if status("404")
        || status("content-type")
        || (address.is_local() && error.code() == ErrorCode::NotFound && is_files(error))
    {
        Error::NoRepository { url }
    } else if !address.is_local() && is_network(error) && !why.contains("No space left") {
        Error::Unreachable { host, doing, why }
    } else if matches!(
        error.class(),
        ErrorClass::Http | ErrorClass::Net | ErrorClass::Ssl | ErrorClass::Invalid
    ) {
        Error::Git { doing, url, why }
    } else {
        site.broken(doing, error)
    }
}

fn is_files(error: &git2::Error) -> bool {
    matches!(error.class(), ErrorClass::Os | ErrorClass::Repository)
}

fn is_network(error: &git2::Error) -> bool {
    let network = [ErrorClass::Net, ErrorClass::Os, ErrorClass::Ssl, ErrorClass::Http];
    error.code() == ErrorCode::Timeout || network.contains(&error.class())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_branch_names_those_that_exist() {
        let id: CommitId = "0".repeat(40).parse().unwrap();
        let heads = Heads::default().with("refs/heads/main", &id).with("refs/tidegate/x", &id);
        assert_eq!(heads.branch("main").unwrap(), &id);
        let message = heads.branch("mian").unwrap_err().to_string();
        assert_eq!(message, "there is no branch \"mian\"; there are: main");
        let message = Heads::default().branch("main").unwrap_err().to_string();
        assert!(message.ends_with("there are: none"), "{message}");
    }
}
