//! `workfleet-kubernetes`: see the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    workfleet_kubernetes::main(workfleet_kubernetes::Cli::parse())
}
