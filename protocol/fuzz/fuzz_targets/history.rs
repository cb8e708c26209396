//! Records of everybody, in any order.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::history::history(data));
