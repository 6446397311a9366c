//! `workfleet`: the dispatcher and the commands around it.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use commands::{Cli, Fault};

/// As a shell says that SIGTERM ended a program.
const EXIT_TERMINATED: u8 = 128 + 15;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = cli.form();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Fault::from(error).report(form),
    };
    let code = runtime.block_on(async {
        let terminated = terminated(&cli);
        tokio::select! {
            done = cli.run() => done.map_or_else(|fault| fault.report(form), |()| ExitCode::SUCCESS),
            () = terminated => ExitCode::from(EXIT_TERMINATED),
        }
    });
    // A look-up of a name that nobody answers must not hold up the end.
    runtime.shutdown_background();
    code
}

/// Ends when SIGTERM comes; never for a command that leaves by itself then. The first process of a container gets no
/// signal that it does not listen for, so a Job that waits for the broker would be killed only after its grace period.
fn terminated(cli: &Cli) -> impl Future<Output = ()> + use<> {
    let signal = signal(SignalKind::terminate()).ok().filter(|_| !cli.leaves_by_itself());
    async move {
        match signal {
            Some(mut signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
