#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereabouts_fuzz::network(data));
