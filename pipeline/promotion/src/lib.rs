//! The promotion state machine.
