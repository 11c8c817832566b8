//! Names, digests and other identities.
