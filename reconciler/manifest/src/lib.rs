//! Kubernetes objects as manifests.
