//! The Tidegate API kinds.
