//! The HTTP client for everything outside the cluster.
//!
//! What answers may be slow, broken or hostile, so every request goes through one guarded client
//! (`http`): a deadline and one retry, a cap on every body, no credentials across hosts, plain
//! HTTP to loopback addresses only and only when told, redirects followed by our own rules.
//!
//! On it stands the reading side of the OCI distribution protocol: [`Registry`] and
//! [`Repository`]. `oci-client`'s has no body cap, no referrer pages and no redirect policy, and
//! takes any error of the referrers tag for "none". Here errors stay errors, and whatever is
//! asked for by digest is digested again over the bytes that came.

mod attachments;
mod challenge;
mod content;
mod error;
mod http;
mod images;
mod name;
mod push;
mod referrers;
mod repository;
mod session;

pub use attachments::Found;
pub use content::{Descriptor, ImageConfig, Manifest, Platform};
pub use error::Error;
pub use http::Options;
pub use images::Images;
pub use name::RepositoryName;
pub use push::Referrer;
pub use repository::{Registry, Repository};
pub use session::Basic;

#[cfg(test)]
mod tests;
