//! See `tidegate_provenance::fuzz::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _taken = tidegate_provenance::fuzz::bundle(data);
});
