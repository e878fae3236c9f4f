//! See `httpcore_hyper_fuzz::request`: any request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: httpcore_hyper_fuzz::request::Input| {
    httpcore_hyper_fuzz::request::check(input)
});
