//! Lane ownership and manifest rules: rendered objects in, findings out.
//!
//! Lanes have their own approvers and their own rights, so what a lane may hold is
//! enforced on what was rendered, never on where a file lies: a `RoleBinding` in
//! the app lane's folder would otherwise reach production with the app lane's
//! approvals. Every finding names the object, says why, and gives the way out.

mod ownership;
mod rules;

pub use ownership::{COMPONENT_LABEL, Lane, kinds, may_hold, owner};
pub use rules::check;
