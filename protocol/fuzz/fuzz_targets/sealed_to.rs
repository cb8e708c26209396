//! Bytes sealed to one person.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_protocol_fuzz::sealing::sealed_to(data));
