//! Hands the fuzzer's bytes to [`tertium_fuzz::frame_decoder`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertium_fuzz::frame_decoder(bytes));
