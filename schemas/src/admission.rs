//! The admission policies that ship with the CRDs.
