//! See `tidegate_provenance::fuzz::statement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = tidegate_provenance::fuzz::statement(data);
});
