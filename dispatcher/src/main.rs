//! `workfleet`: the dispatcher and the commands around it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

use commands::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = cli.form();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(form),
    }
}
