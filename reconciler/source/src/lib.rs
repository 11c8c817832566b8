//! Git: mirrors, snapshots, signed commits, push.
//!
//! What runs comes from Git, and what Tidegate promotes goes back to Git, so this
//! crate is both the first and the last step of the line. A [`Mirror`] is a bare
//! copy of one repository, shared by all its users and fetched once for a push. A
//! [`Snapshot`] reads files of one commit out of it, never out of a work tree, so
//! that no symbolic link and no path leads out of the tree. Commits are signed
//! and verified as SSH signatures (SSHSIG, namespace `git`), and everything that
//! is read from a commit is read from the bytes that its signature covers. A push
//! is a compare-and-swap.

mod address;
mod commit;
mod credentials;
mod der;
mod error;
mod fetch;
mod key;
mod libgit2;
mod limits;
mod mirror;
mod mirrors;
mod notes;
mod path;
mod push;
mod signature;
mod site;
mod snapshot;
mod write;

pub use commit::{Commit, Person, with_trailers};
pub use credentials::Credentials;
pub use error::Error;
pub use fetch::Heads;
pub use key::{PublicKey, Signer, SigningKey};
pub use libgit2::initialise;
pub use limits::Limits;
pub use mirror::Mirror;
pub use mirrors::Mirrors;
pub use notes::{KNOWN_GOOD, NewNote};
pub use push::Push;
pub use signature::SignatureError;
pub use snapshot::{Entry, Snapshot};
pub use write::{NewCommit, Tree};
