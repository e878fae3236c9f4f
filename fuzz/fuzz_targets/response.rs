//! See `httpcore_hyper_fuzz::response`: any bytes in answer to a request, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| httpcore_hyper_fuzz::response::check(input));
