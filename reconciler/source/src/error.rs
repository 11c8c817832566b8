//! Everything that can go wrong with a source, in words for the person who can
//! put it right. No message holds a secret: URLs were checked to have none.

use tidegate_ids::CommitId;

/// Why something about a Git source did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL may not be a source.
    #[error("{url} cannot be a Git source: {why}")]
    Url {
        /// The URL without anything that might be secret.
        url: String,
        /// What is wrong and what would be right.
        why: &'static str,
    },
    /// The credentials cannot be sent.
    #[error("the credentials for a Git source cannot be used: {why}; correct the Secret")]
    Credentials {
        /// What is wrong with them.
        why: &'static str,
    },
    /// The server did not accept the credentials.
    #[error(
        "{url}: the credentials were refused; check that the Secret holds a current user name and password, or token, with the right to {doing}"
    )]
    CredentialsRefused {
        /// The repository.
        url: String,
        /// What they were used for.
        doing: &'static str,
    },
    /// The server wants credentials and none were given.
    #[error(
        "{url} wants credentials and none were given; name a Secret with them, or check the URL: many servers answer like this where no such repository exists"
    )]
    CredentialsWanted {
        /// The repository.
        url: String,
    },
    /// There is no such repository.
    #[error(
        "there is no Git repository at {url}; check the URL, and that the credentials may see the repository"
    )]
    NoRepository {
        /// The repository.
        url: String,
    },
    /// The server cannot be reached or fails.
    #[error(
        "cannot reach the Git server {host} to {doing}: {why}; check that the server is up, that its name resolves, and that network policies and proxies let the engine out to it"
    )]
    Unreachable {
        /// The server.
        host: String,
        /// What was tried.
        doing: &'static str,
        /// What the network said.
        why: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of the Git server {host} is not trusted: {why}; check its name and dates, or add its authority to the engine's certificates"
    )]
    Certificate {
        /// The server.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// It took too long.
    #[error(
        "the {doing} ({url}) took longer than {seconds} s; try again, and whether it took effect shows after the next fetch"
    )]
    Deadline {
        /// What was being done.
        doing: &'static str,
        /// The repository.
        url: String,
        /// The time it had.
        seconds: u64,
    },
    /// A repository is larger than its limits.
    #[error("{url} has more than {limit} {what}; make it smaller, or raise the engine's limit")]
    TooLarge {
        /// The repository.
        url: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The repository has no such branch.
    #[error("there is no branch {branch:?}; there are: {present}")]
    NoBranch {
        /// The branch that was asked for.
        branch: String,
        /// Some that exist.
        present: String,
    },
    /// The mirror has no such commit.
    #[error("{url} has no commit {commit}; it was removed from every branch, or not fetched yet")]
    NoCommit {
        /// The repository.
        url: String,
        /// The commit.
        commit: CommitId,
    },
    /// A commit has no such path.
    #[error("commit {commit} has no folder {path:?}; check the path")]
    NoFolder {
        /// The path, from the repository's root.
        path: String,
        /// The commit.
        commit: CommitId,
    },
    /// A path that is not a plain path inside the repository.
    #[error("the path {path:?} is refused: {why}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path that leads through something that is never followed.
    #[error(
        "{path:?} is a {what}, which is not followed; put the files themselves into the repository"
    )]
    NotFollowed {
        /// The link, from the repository's root.
        path: String,
        /// Symbolic link or submodule.
        what: &'static str,
    },
    /// A file or folder is larger than its limits.
    #[error(
        "{path:?} in commit {commit} has more than {limit} {what}; take out what is not needed, or narrow the path"
    )]
    TooMuch {
        /// The path, from the repository's root.
        path: String,
        /// The commit.
        commit: CommitId,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A commit object that is not as Git writes them.
    #[error("commit {commit} cannot be read: {why}")]
    Commit {
        /// The commit.
        commit: CommitId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that cannot be used.
    #[error("this is not a usable SSH key: {why}")]
    Key {
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A key did not sign.
    #[error("signing with the key {fingerprint}: {why}")]
    Signing {
        /// The key's fingerprint.
        fingerprint: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// The mirror on disk failed.
    #[error(
        "the mirror of {url} failed to {doing}: {why}; it is cloned anew at the next fetch, check the disk's space and rights if this stays"
    )]
    Mirror {
        /// The repository.
        url: String,
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        why: String,
    },
    /// Something else that Git said.
    #[error("cannot {doing} ({url}): {why}")]
    Git {
        /// What was being done.
        doing: &'static str,
        /// The repository.
        url: String,
        /// What Git said.
        why: String,
    },
}

/// A text from outside, fit for a message: one line, no control characters, bounded.
pub(crate) fn plain(text: &str) -> String {
    const LONGEST: usize = 1000;
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST).collect()
}
