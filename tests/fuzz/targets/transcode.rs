//! JSON to protobuf and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workfleet_fuzz::transcode::run(data));
