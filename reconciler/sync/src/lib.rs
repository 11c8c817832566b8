//! Repository and Sync: the kinds that make a target equal to Git, and keep it so.
//!
//! One task for each Repository fetches; one for each Sync holds what it knows and wakes on what
//! concerns it: a new head, a changed spec, an event on an object it owns, or a time it set itself.
//! Nothing is done on a fixed interval. A task that works holds one of a bounded number of slots; a
//! task that waits holds none, so that a failing Sync delays no other.
//!
//! Everything in memory can be lost at any instant: status, the record in the target and Git are
//! enough to go on, and each step starts by looking whether it was done.

mod clock;
mod error;
mod files;
mod looked;
mod scope;
mod sources;
mod sync;

pub use error::Error;
pub use files::files;
pub use looked::Looked;
pub use sources::{RepositoryKey, Source, SourceError, SourceOptions, Sources};
pub use sync::{Options, run};
