//! Pushing one reference, as a compare-and-swap.
//!
//! libgit2 would force a reference over anything, and reports success when the
//! server rejected the update. So the old value is compared while the push is
//! negotiated; the server compares it again when it takes the lock (the protocol
//! carries it); and only the server's own word for this reference counts as done.

use crate::Error;
use crate::error::plain;
use crate::fetch::{Seen, callbacks, explain, fetch};
use crate::site::{Site, commit_id, oid};
use git2::{PushOptions, Reference, RemoteRedirect};
use std::cell::RefCell;
use std::time::Instant;
use tidegate_ids::CommitId;

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The reference names the commit, now or already before.
    Done,
    /// The reference was not where the caller expected it; this is where it is.
    Moved(Option<CommitId>),
    /// The server rejected it, with these words.
    Refused(String),
}

const DOING: &str = "push";
const LONGEST_REMARK: usize = 4096;

#[derive(Default)]
struct Answers {
    negotiated: RefCell<Option<Push>>,
    status: RefCell<Option<Result<(), String>>>,
    remarks: RefCell<Vec<u8>>,
}

/// Moves a reference on the server from `expected` (`None`: it must not exist) to `new`.
pub(crate) fn push(
    site: &Site,
    reference: &str,
    new: &CommitId,
    expected: Option<&CommitId>,
    until: Instant,
) -> Result<Push, Error> {
    check_name(reference)?;
    let mirror = site.open()?;
    mirror.find_commit(oid(new)?).map_err(|error| site.missing(new, &error))?;
    let (seen, answers) = (Seen::default(), Answers::default());
    let header = site.credentials.header();
    let outcome = {
        let mut options = PushOptions::new();
        options
            .follow_redirects(RemoteRedirect::None)
            .packbuilder_parallelism(1)
            .custom_headers(&header.iter().map(String::as_str).collect::<Vec<_>>())
            .remote_callbacks(push_callbacks(&seen, &answers, new, expected, until));
        let mut remote = mirror
            .remote_anonymous(site.address.url())
            .map_err(|error| site.broken(DOING, &error))?;
        remote.push(&[format!("+{new}:{reference}")], Some(&mut options))
    };
    if let Some(decided) = answers.negotiated.take() {
        return Ok(decided);
    }
    match (outcome, answers.status.take()) {
        (_, Some(Err(status))) => {
            Ok(refused(site, reference, new, expected, until, &answers, &status))
        }
        (Ok(()), Some(Ok(()))) => {
            mirror
                .reference(reference, oid(new)?, true, "pushed")
                .map_err(|error| site.broken("note a push", &error))?;
            site.learn(site.heads().with(reference, new));
            Ok(Push::Done)
        }
        (Ok(()), None) => Err(Error::Git {
            doing: DOING,
            url: site.address.url().to_owned(),
            why: "the server did not report what became of it".to_owned(),
        }),
        (Err(error), _) => Err(explain(site, DOING, &seen, &error)),
    }
}

fn push_callbacks<'a>(
    seen: &'a Seen,
    answers: &'a Answers,
    new: &'a CommitId,
    expected: Option<&'a CommitId>,
    until: Instant,
) -> git2::RemoteCallbacks<'a> {
    let mut callbacks = callbacks(until, seen);
    callbacks.sideband_progress(move |text| {
        let mut remarks = answers.remarks.borrow_mut();
        if remarks.len() < LONGEST_REMARK {
            remarks.extend(text.iter().take(LONGEST_REMARK));
        }
        seen.in_time(until)
    });
    callbacks.push_negotiation(move |updates| {
        let current = updates.first().map(git2::PushUpdate::src).filter(|id| !id.is_zero());
        let current = current.and_then(commit_id);
        if current.as_ref() == Some(new) {
            answers.negotiated.replace(Some(Push::Done));
        } else if current.as_ref() != expected {
            answers.negotiated.replace(Some(Push::Moved(current)));
        } else {
            return Ok(());
        }
        Err(git2::Error::from_str("nothing is sent"))
    });
    callbacks.push_update_reference(move |_, status| {
        answers.status.replace(Some(status.map_or(Ok(()), |text| Err(text.to_owned()))));
        Ok(())
    });
    callbacks
}

/// A rejection can be somebody else's push that came between: the server's state tells.
fn refused(
    site: &Site,
    reference: &str,
    new: &CommitId,
    expected: Option<&CommitId>,
    until: Instant,
    answers: &Answers,
    status: &str,
) -> Push {
    if let Ok(heads) = fetch(site, until) {
        let current = heads.get(reference);
        if current == Some(new) {
            return Push::Done;
        }
        if current != expected {
            return Push::Moved(current.cloned());
        }
    }
    let remarks = plain(&String::from_utf8_lossy(&answers.remarks.borrow()));
    let status = plain(status);
    Push::Refused(if remarks.is_empty() { status } else { format!("{status}: {remarks}") })
}

fn check_name(reference: &str) -> Result<(), Error> {
    let ours = ["refs/heads/", "refs/tidegate/", "refs/notes/tidegate/"];
    if ours.iter().any(|prefix| reference.starts_with(prefix))
        && Reference::is_valid_name(reference)
    {
        return Ok(());
    }
    let why = "it is no reference that Tidegate pushes: a full name below refs/heads/, refs/tidegate/ or refs/notes/tidegate/";
    Err(Error::Path { path: reference.chars().take(300).collect(), why })
}
