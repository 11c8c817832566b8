//! Why the reconciler cannot start. What goes wrong later is told in the objects' conditions.

/// Why the reconciler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mirrors' folder cannot be used.
    #[error("preparing the mirrors: {0}")]
    Mirrors(#[from] tidegate_source::Error),
    /// The cluster cannot be used.
    #[error("starting the reconciler: {0}")]
    Cluster(#[from] tidegate_cluster::Error),
}
