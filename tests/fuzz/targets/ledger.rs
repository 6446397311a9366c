//! Lines of a ledger, as `workfleet audit` reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::ledger::run(data));
