//! Repository and Sync controllers.
