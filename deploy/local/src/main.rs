//! `workfleet-local`: see the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    workfleet_local::main(workfleet_local::Cli::parse())
}
