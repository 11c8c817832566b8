//! Discovery rules and release identity.
//!
//! Which of a registry's tags is wanted ([`choose`]), what a release is
//! ([`ReleaseId`]: the rendered bytes themselves), how its rendered sets are kept,
//! and what a deploy commit contains and states ([`deploy`]). All of it is a
//! function of its arguments: two replicas, or one before and after a crash, come
//! to the same release and to the same commit.

pub mod deploy;
mod error;
mod follow;
mod identity;
mod range;
mod version;

pub use error::Error;
pub use follow::{Choice, TagInfo, choose, need_creation_time};
pub use identity::{ReleaseContent, ReleaseId};
pub use range::Range;
pub use version::Version;
