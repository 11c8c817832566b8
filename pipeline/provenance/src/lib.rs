//! Signatures in, verdicts out.
