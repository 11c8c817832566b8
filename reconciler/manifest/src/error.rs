//! What can be wrong with manifests, told so that the writer of the file can mend it.

use tidegate_ids::ObjectId;

/// Why manifests were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not YAML as Kubernetes reads it, or exceeds a limit.
    #[error("reading {origin}: {why}")]
    Yaml {
        /// The file.
        origin: String,
        /// The parser's words, with line and column.
        why: String,
    },
    /// The file is larger than [`crate::MAX_FILE_BYTES`].
    #[error(
        "reading {origin}: it has {bytes} bytes, and a manifest file may have {limit}: split it into several files"
    )]
    TooLarge {
        /// The file.
        origin: String,
        /// Its size in bytes.
        bytes: usize,
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// A document that is no Kubernetes object, or one with a field that cannot be.
    #[error("reading {origin}: {what} {why}")]
    Object {
        /// The file.
        origin: String,
        /// The object as far as it is known, such as `Deployment "web"`.
        what: String,
        /// What is wrong with it and what would mend it.
        why: String,
    },
    /// The same object twice.
    #[error(
        "{object} is stated twice, in {first} and in {second}: remove one, or let one patch the other"
    )]
    Duplicate {
        /// The object.
        object: Box<ObjectId>,
        /// The file that stated it first.
        first: String,
        /// The file that stated it again.
        second: String,
    },
    /// An object outside the target namespace.
    #[error(
        "{object} in {origin} states the namespace {stated}, and this target is {target}: leave the namespace out, or deliver the object with an environment whose target it is"
    )]
    ForeignNamespace {
        /// The object.
        object: Box<ObjectId>,
        /// The file.
        origin: String,
        /// The namespace it states.
        stated: String,
        /// The namespace of the target.
        target: String,
    },
    /// A text that is no image reference.
    #[error("{reference:?} is not an image reference: {why}")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
