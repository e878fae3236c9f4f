//! See `httpcore_hyper_fuzz::pool`: any sequence of operations of a pool.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: httpcore_hyper_fuzz::pool::Input| {
    httpcore_hyper_fuzz::pool::check(input)
});
