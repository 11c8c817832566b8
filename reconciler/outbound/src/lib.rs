//! The HTTP client for everything outside the cluster.
//!
//! What answers may be slow, broken or hostile, so every request goes through one guarded client
//! (`http`): a deadline and one retry, a cap on every body, a bounded number of connections, no
//! address of the machine, its link or its cloud, no credentials across hosts, plain HTTP to
//! loopback addresses only and only when told, redirects followed by our own rules.
//!
//! On it stands the OCI distribution protocol as far as it is used here: reading, finding what is
//! attached to an image, and pushing beside one ([`Registry`], [`Repository`]); [`Images`] reads
//! the same from a layout on disk. `oci-client` has no body cap, no referrer pages and no redirect policy, and
//! takes any error of the referrers tag for "none". Here errors stay errors, and whatever is
//! asked for by digest is digested again over the bytes that came.

mod address;
mod attachments;
mod challenge;
mod content;
mod credentials;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod images;
mod layout;
mod mirrors;
mod name;
mod options;
mod push;
mod referrers;
mod repository;
mod resolve;
mod session;
mod token;
mod turns;

pub use address::Allowed;
pub use attachments::Found;
pub use content::{Descriptor, ImageConfig, Manifest, Platform};
pub use credentials::{Credentials, Keychain};
pub use error::Error;
pub use images::Images;
pub use layout::Layout;
pub use mirrors::Mirror;
pub use name::RepositoryName;
pub use options::{Direct, Options, Proxy};
pub use push::Referrer;
pub use repository::{Registry, Repository};

#[cfg(test)]
mod tests;
