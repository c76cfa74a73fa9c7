//! Any datagram at all, sealed and not.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onehold_core_fuzz::open_any(bytes));
