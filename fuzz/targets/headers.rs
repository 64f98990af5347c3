//! Hands the fuzzer's bytes to [`tertium_fuzz::headers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertium_fuzz::headers(bytes));
