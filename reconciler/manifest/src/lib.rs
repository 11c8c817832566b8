//! Kubernetes objects as manifests: read, named, scoped, pinned, ordered and written.
//!
//! What is reviewed, signed and applied are the same bytes, so this crate owns
//! both directions: it reads what `sigs.k8s.io/yaml` (kubectl, kustomize, Helm)
//! reads, and writes YAML that every parser, YAML 1.1 ones included, reads back
//! as the same value. A [`Set`] is one lane of one environment: sorted, without
//! duplicates, with one digest that depends on nothing but its content.

mod error;
mod images;
mod object;
mod order;
mod read;
mod reference;
mod scope;
mod set;
mod write;

pub use error::Error;
pub use images::{Image, ImageFields, Unpinned};
pub use object::Manifest;
pub use order::{LAST_STAGE, stage};
pub use read::{MAX_FILE_BYTES, documents, manifests};
pub use reference::ImageReference;
pub use scope::is_namespaced;
pub use set::Set;
pub use write::to_yaml;
