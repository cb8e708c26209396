//! What is on disk.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::store::stored(data));
