//! Generates the probe's messages, as a worker's build script does, and those of its next version.

fn main() -> Result<(), workfleet_codegen::CodegenError> {
    workfleet_codegen::generate_kinds(&["proto/probe.proto"])?;
    workfleet_codegen::generate_kinds_in("next", &["proto/next/probe.proto"])
}
