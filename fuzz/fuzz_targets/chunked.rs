//! See `httpcore_hyper_fuzz::chunked`: chunked bodies, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: httpcore_hyper_fuzz::chunked::Input| {
    httpcore_hyper_fuzz::chunked::check(input)
});
