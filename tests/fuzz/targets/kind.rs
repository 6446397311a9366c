//! The contract of a kind, as a worker registers it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::kind::run(data));
