//! Sessions under anything.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::session::session(data));
