//! Why a pass could not go on. Each is tried again; none loses anything.

/// Something that a pass met.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("writing {what}: {source}")]
    Cluster {
        /// What was being done, to what.
        what: String,
        /// The API server's words.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote the object in between; the next pass sees it.
    #[error("{what} was changed by somebody else in between; it is read again")]
    Conflict {
        /// The object.
        what: String,
    },
    /// Git did not do it.
    #[error("{what}: {source}")]
    Git {
        /// What was being done.
        what: String,
        /// Git's words.
        source: tidegate_source::Error,
    },
    /// The deploy branch's server refused the push.
    #[error(
        "pushing {reference}: the server refused it ({why}); allow Tidegate's account to push refs/heads/deploy/*, refs/tidegate/* and refs/notes/tidegate/*"
    )]
    Push {
        /// The reference.
        reference: String,
        /// The server's words.
        why: String,
    },
    /// An environment's key cannot be used now.
    #[error("opening the key that Secret {secret} names: {why}")]
    Key {
        /// The Secret, in the engine's namespace.
        secret: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// The repository cannot be used now.
    #[error("{0}")]
    Source(String),
    /// Some parts of a pass failed, each on its own.
    #[error("{0}")]
    Troubles(String),
    /// A value has no form that can be stored.
    #[error("{0}")]
    Content(String),
}

impl Error {
    /// Wraps the client's error; a conflict is told apart.
    pub fn cluster(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| match &source {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict { what },
            _ => Self::Cluster { what, source: Box::new(source) },
        }
    }

    /// Wraps Git's error.
    pub fn git(what: impl Into<String>) -> impl FnOnce(tidegate_source::Error) -> Self {
        let what = what.into();
        move |source| Self::Git { what, source }
    }
}
