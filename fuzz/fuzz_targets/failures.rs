//! See `httpcore_hyper_fuzz::failures`: sockets that fail at any byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: httpcore_hyper_fuzz::failures::Input| {
    httpcore_hyper_fuzz::failures::check(input)
});
