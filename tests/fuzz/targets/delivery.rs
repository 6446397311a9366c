//! A message on a task's subject, as a worker meets it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::delivery::run(data));
