//! Server-sent events, as the command line reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::events::run(data));
