//! Desired and live state to a change set.
