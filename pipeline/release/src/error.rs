//! What can be wrong when a version is chosen or a deploy commit is read.

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `follow` names none or several of its ways.
    #[error("follow must name exactly one of semver, newest and digest")]
    Follow,
    /// A range that cannot be read.
    #[error(
        "the semver range {range:?} cannot be read at {part:?}: write ranges such as 17.0.3, ~17.0, ^2.1, >=1.2 <2, 1.2 - 1.4, 17.x, joined by ||"
    )]
    Range {
        /// The range.
        range: String,
        /// The part that cannot be read.
        part: String,
    },
    /// No tag fits.
    #[error(
        "none of the {tags} tags fits {wanted}{hint}: push such a tag, or widen `follow` of the Pipeline"
    )]
    NoTag {
        /// How many tags the repository has.
        tags: usize,
        /// The range or pattern.
        wanted: String,
        /// What was close, in words; empty where nothing was.
        hint: String,
    },
    /// Tags fit, but nothing says which is newest.
    #[error(
        "the tags that fit {wanted} have neither a date in them nor a creation time in the image: name tags by date (17.0-20251120), or follow a semver range"
    )]
    NoTime {
        /// The pattern.
        wanted: String,
    },
    /// A commit that is no deploy commit of ours.
    #[error("the commit message is not that of a deploy commit: {0}")]
    Trailers(String),
    /// Something that should have a JSON form has none.
    #[error("computing the release's identity: {0}")]
    Identity(String),
    /// The stored sets of a release cannot be read.
    #[error("reading the stored sets of a release: {0}")]
    Stored(String),
}
