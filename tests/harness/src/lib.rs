//! The lab as seen by tests: a real Kubernetes control plane with pretended nodes, a registry, a
//! Git server and cosign, all on loopback under one temporary folder.
//!
//! Tests of the product run on the real thing, because what breaks a reconciler is how an API
//! server, a registry or Git really answer. [`Lab::attach_or_start`] is the usual entry: one lab
//! for the whole test process, handed over by `cargo xtask test` or started here. A test that
//! stops a shared part (the API server, the registry) takes [`Lab::start_fresh`]. A private Sigstore
//! comes up beside it when [`Lab::sigstore`] is called.
//!
//! Everything here blocks and can be called from synchronous and asynchronous tests alike.

mod apply;
mod binaries;
mod error;
mod git;
mod images;
mod kubernetes;
mod lab;
mod parts;
mod ports;
pub mod reference;
mod sigstore;
pub mod story;
mod supervisor;

pub use binaries::{Binaries, cache_root, go_module_folder, repository_root};
pub use error::LabError;
pub use images::{CosignKey, Signature};
pub use lab::{Description, LAB_VARIABLE, Lab};
pub use parts::eventually;
pub use reference::{Reference, Shortened, Signing};
pub use sigstore::{Algorithm, By, FORGE, Identity, Proof, Sigstore, Workflow};

#[cfg(test)]
mod tests;
