//! Desired and live state to a change set.
//!
//! Planning comes first and is pure: what is to be applied, in which order, what is to be deleted
//! and what must not be, is a value that can be looked at and tested before anything is touched.
//! The membership that pruning rests on (an `ApplySet` by KEP-3659) and the comparison that drift
//! rests on are here too.

mod change;
mod difference;
mod error;
mod membership;
mod prune;

pub use change::{ChangeSet, check_kinds, plan};
pub use difference::{differences, writer};
pub use error::Error;
pub use membership::{PART_OF, Parent, applyset_id, as_member};
pub use prune::{PRUNE, Prunable, prunable};
