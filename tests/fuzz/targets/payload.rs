//! See `tidegate_provenance::fuzz::payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_provenance::fuzz::payload(data));
