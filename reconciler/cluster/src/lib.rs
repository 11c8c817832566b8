//! Kubernetes clients, identities, watches and apply.
