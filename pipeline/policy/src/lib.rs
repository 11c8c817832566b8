//! Lane ownership and manifest rules.
