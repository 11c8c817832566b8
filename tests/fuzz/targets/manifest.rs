//! See `tidegate_outbound::fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = tidegate_outbound::fuzz::manifest(data);
});
