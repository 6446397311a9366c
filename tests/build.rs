//! Generates the probe's messages, as a worker's build script does.

fn main() -> Result<(), workfleet_codegen::CodegenError> {
    workfleet_codegen::generate_kinds(&["proto/probe.proto"])
}
