//! Any bytes at all, read as an advert.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onehold_core_fuzz::decode(bytes));
