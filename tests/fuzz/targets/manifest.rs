//! See `tidegate_outbound::fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_outbound::fuzz::manifest(data));
