//! Stored results, dead letters, events and envelopes, as the dispatcher reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::records::run(data));
