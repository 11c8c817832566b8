//! What can go wrong outside, and what to do about it.

use std::time::Duration;

use tidegate_ids::Digest;

/// Why something outside could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name is not that of a repository.
    #[error(
        "reading repository name {text:?}: {why}; write host[:port]/path in lower case, without \
         tag or digest"
    )]
    Name {
        /// The name as written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text is not a tag.
    #[error(
        "reading tag {text:?} of {repository}: a tag is at most 128 letters, digits, dots, \
         underscores and dashes, and begins with neither dot nor dash"
    )]
    Tag {
        /// The repository.
        repository: String,
        /// The text as written.
        text: String,
    },
    /// An option of the client, or of the command line, makes no sense.
    #[error("reading {what} {text:?}: {way_out}")]
    Option {
        /// What the option is about.
        what: &'static str,
        /// The text as written.
        text: String,
        /// How it is written.
        way_out: &'static str,
    },
    /// Kept credentials cannot be used.
    #[error("reading {of}: {why}")]
    Credentials {
        /// The Secret or file.
        of: String,
        /// What is wrong, without anything secret, and the way out.
        why: String,
    },
    /// The client could not be made.
    #[error("setting up the HTTP client: {0}; check the machine's CA certificates")]
    Client(String),
    /// There was no answer, or it broke off.
    #[error(
        "reading {what}: {host} cannot be reached ({why}); check the host's name, the network \
         between, and that it is up. It is tried again"
    )]
    Unreachable {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// The cause, in the network's words.
        why: String,
    },
    /// The host answers, but cannot serve now.
    #[error(
        "reading {what}: {host} answered {status}; it is overloaded, down, or limits how often it \
         is asked. {}", again(*retry_after)
    )]
    Unavailable {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// The HTTP status.
        status: u16,
        /// When it wants to be asked again, from now on; nothing where it does not say.
        retry_after: Option<Duration>,
    },
    /// The host wants credentials, or other ones.
    #[error(
        "reading {what}: {host} refused {who} ({status}); give credentials that may pull this \
         repository, or check that its name is right"
    )]
    Unauthorized {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// Who asked, without the secret.
        who: String,
        /// The HTTP status.
        status: u16,
    },
    /// It is not there.
    #[error("reading {what}: {host} has no such thing; check the name, or push it")]
    NotFound {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
    },
    /// It is larger than what is ever read.
    #[error("reading {what} from {host}: it has more than {limit}; make it smaller or remove some")]
    TooLarge {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// The bytes are not those that were asked for.
    #[error(
        "reading {what} from {host}: its bytes are {found}, but {expected} was promised; the \
         registry, or something before it, changes content"
    )]
    DigestMismatch {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        found: Digest,
    },
    /// Something on disk cannot be read.
    #[error(
        "reading {what} of {place}: {why}; give the folder of an OCI layout, or a .tar of one, that \
         may be read"
    )]
    Disk {
        /// What was being read.
        what: String,
        /// The folder or file.
        place: String,
        /// The cause, in the system's words.
        why: String,
    },
    /// An address that may not be asked.
    #[error("reading {what}: {url} is not asked, because {why}")]
    Refused {
        /// What was being read.
        what: String,
        /// The address, without user and query.
        url: String,
        /// The rule.
        why: &'static str,
    },
    /// The answer does not follow the protocol.
    #[error("reading {what}: the answer of {host} is not understood: {why}")]
    Malformed {
        /// The host and port.
        host: String,
        /// What was being read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether what somebody pushed is at fault, and not the registry or the way to it.
    pub(crate) fn is_of_content(&self) -> bool {
        use Error::{DigestMismatch, Malformed, NotFound, TooLarge};
        matches!(self, NotFound { .. } | TooLarge { .. } | DigestMismatch { .. } | Malformed { .. })
    }
}

fn again(after: Option<Duration>) -> String {
    match after {
        Some(after) => {
            format!("It asks to be left alone for {} s, then it is tried again", after.as_secs())
        }
        None => "It is tried again".to_owned(),
    }
}
