//! `workfleet`: the dispatcher and the commands around it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

use commands::{Cli, Fault};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = cli.form();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Fault::from(error).report(form),
    };
    let code = match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(form),
    };
    // A look-up of a name that nobody answers must not hold up the end.
    runtime.shutdown_background();
    code
}
