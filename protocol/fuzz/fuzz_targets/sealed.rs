//! Sealed bytes from anywhere.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::sealing::sealed(data));
