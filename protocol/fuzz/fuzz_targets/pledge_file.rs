//! Pledge files.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::text::pledge_file(data));
