//! Facts, policy and time to a decision with reasons.
