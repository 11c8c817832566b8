//! Discovery rules and release identity.
