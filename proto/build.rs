//! Generates the fleet's own messages from `workfleet/v1`, and every kind from `kinds`: a new file there is enough.

use std::error::Error;
use std::path::PathBuf;

const PROTOCOL: [&str; 5] = [
    "workfleet/v1/envelope.proto",
    "workfleet/v1/result.proto",
    "workfleet/v1/event.proto",
    "workfleet/v1/registry.proto",
    "workfleet/v1/dispatcher.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=workfleet");
    println!("cargo:rerun-if-changed=kinds");
    let files = protox::compile(PROTOCOL, ["."])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    std::fs::write(out.join("workfleet.v1.descriptors"), prost_bytes(&files))?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;

    let mut kinds: Vec<PathBuf> =
        std::fs::read_dir("kinds")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    kinds.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    kinds.sort();
    workfleet_codegen::generate_kinds(&kinds)?;
    Ok(())
}

fn prost_bytes(files: &impl protox::prost::Message) -> Vec<u8> {
    files.encode_to_vec()
}
