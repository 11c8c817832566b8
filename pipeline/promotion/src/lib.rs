//! The promotion state machine, the promotions that should exist, and what may
//! be rolled back to. All pure: journal and facts in, one step out.
//!
//! [`next`] is the whole machine. It starts each step by looking whether its
//! effect is already there (the commit that names this promotion, the Sync that
//! runs it), so that a process killed at any instant goes on correctly.

mod machine;
mod needless;
mod rollback;
mod wanted;

pub use machine::{Branch, Live, Needless, Step, SyncView, next, rolls_back};
pub use needless::{Answered, Candidate, Later, needless};
pub use rollback::{Past, RollbackChoice, is_known_good, known_good, rollback_target};
pub use wanted::{LaneContent, Wanted, wanted};
