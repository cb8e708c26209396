//! What a record says, under a signature that fits.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::record::payload(data));
