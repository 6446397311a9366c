//! The whole fleet on one machine: NATS, a dispatcher, replicas of each worker and (where it is built) Jaeger, as the
//! real processes that run in a cluster, and a supervisor that does what Kubernetes does there.
//!
//! Real processes rather than everything in one: what is seen here (a worker that is killed, a port that is taken, a
//! drain) is then what happens in production, and there is no second way of wiring things up that could differ.
//!
//! In reading order:
//! - [`cli`]: what can be asked for.
//! - `guard`: why nothing stays behind, whatever kills the supervisor.
//! - `program`, `roster`: what is started, with which words and variables, and when it counts as ready.
//! - `process`, `backoff`, `logs`: keeping one process alive.
//! - `fleet`, `scaling`: starting, scaling and draining all of them, in order.
//! - `report`, `control`: `fleet.json` and the socket, by which scripts find and change a running fleet.
//! - `up`, `scale`, `demo`: the commands.
//! - `sink`: where the demo's mails and webhooks arrive.

mod backoff;
mod checkout;
pub mod cli;
mod control;
mod data;
mod demo;
mod error;
mod fleet;
mod guard;
mod logs;
mod ports;
mod process;
mod program;
mod queues;
mod report;
mod roster;
mod scale;
mod scaling;
mod signals;
mod sink;
mod terminal;
mod up;

use std::process::ExitCode;

pub use cli::Cli;
use cli::Command;
use error::LocalError;
use terminal::Terminal;

/// Does what the command line says.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let terminal = Terminal::default();
    // The clients here speak plain HTTP to this machine, and cannot be made without.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let done = match cli.command {
        Command::Guard(args) => Err(LocalError::Guard(guard::become_program(&args))),
        Command::Up(args) => block_on(up::up(args, terminal.clone())),
        Command::Demo(args) => block_on(demo::demo(args, terminal.clone())),
        Command::Scale(args) => block_on(scale::scale(args, terminal.clone())),
        Command::MailSink(args) => block_on(sink::mail::serve(args, terminal.clone())),
        Command::WebhookReceiver(args) => block_on(sink::webhook::serve(args, terminal.clone())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.say(&format!("workfleet-local: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything runs on the main thread: children are told when the *thread* that started them dies, and the main thread
/// lives as long as the process.
fn block_on(work: impl Future<Output = Result<(), LocalError>>) -> Result<(), LocalError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LocalError::Runtime)?;
    runtime.block_on(work)
}
