//! The HTTP client for everything outside the cluster.
