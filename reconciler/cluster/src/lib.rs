//! One Kubernetes cluster, as the reconciler uses it.
//!
//! Two identities never mix. The engine's own account ([`Cluster::client`]) reads Tidegate's kinds,
//! writes their status, reads named Secrets and watches the metadata of what carries the membership
//! label. Everything in a target goes through a [`Deployer`], which cannot be made without an
//! account: the API server treats an empty impersonation as no impersonation, and would let the
//! engine act as itself.
//!
//! The kube client's own retries (15 tries, up to 1000 s) are off: who calls knows what waits.

mod connection;
mod discovery;
mod error;
mod events;
mod objects;
mod observed;
mod secrets;
mod status;
mod watches;

pub use connection::{Cluster, Deployer};
pub use discovery::Resource;
pub use error::Error;
pub use events::{Announcer, Severity};
pub use kube;
pub use observed::{Fingerprint, Observed};
pub use secrets::SecretData;
pub use status::{Written, replace_status};
pub use watches::Watches;
