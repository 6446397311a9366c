//! Ids, names, subjects and cursors.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::names::run(data));
