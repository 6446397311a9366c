//! The commands for people and scripts.
//!
//! `serve`, `provision`, `queue`, `audit`, `doctor` and `blob sweep` speak to the broker, `credentials` and `token` to nobody; every other
//! command speaks to a dispatcher over REST, as any client would. A second way in, straight to the broker, would be
//! faster and would also be a second admission that could disagree with the first.

mod audit;
mod blob;
mod call;
mod cancel;
mod credentials;
mod dead;
mod doctor;
mod fault;
mod follow;
mod get;
mod log;
mod operations;
mod pages;
mod payload;
mod print;
mod progress;
mod provision;
mod queue;
mod queues;
mod remote;
mod serve;
mod sse;
mod submit;
mod task;
mod tasks;
mod token;
mod watch;

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

pub(crate) use fault::{Fault, Form};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; where a task was waited for, it completed
  1  the task, or the call, ended without an output: failed, cancelled or expired; or `audit` or `doctor` found a fault
  2  wrong use: an option, a payload or a file that cannot be read
  3  not served now, later may help: dispatcher or broker not reachable, queue full, no worker, all busy
  4  the time that was given passed first; the task itself goes on
  5  refused: unknown queue or task, invalid payload, conflict
  6  the task was accepted, and its line could not be written to --log; its id is printed, so do not submit it again
What went wrong is said on the standard error; with --json as one line of JSON with a stable code.

Examples, in the checkout, with a fleet that `make fleet` has started:
  workfleet submit thumbnail --field image=@deploy/local/samples/julia.png --field width_px=64 --field height_px=64 --wait
  workfleet call thumbnail --field image=@deploy/local/samples/julia.png --field width_px=64 --field height_px=64
  workfleet queues --json | jq '.queues[].waiting'";

/// What `--version` says after the name. The build of images gives the revision, and labels the image with the same; an
/// ordinary build has none, since it would be compiled again for every commit.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let revision = option_env!("WORKFLEET_REVISION").filter(|revision| !revision.is_empty());
    let version = env!("CARGO_PKG_VERSION");
    revision.map_or_else(|| version.to_owned(), |revision| format!("{version} (revision {revision})"))
});

/// Durable tasks and direct calls over NATS, with one trace for each.
#[derive(Debug, Parser)]
#[command(name = "workfleet", version = VERSION.as_str(), after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Provision(provision::Provision),
    Credentials(credentials::Credentials),
    Token(token::Token),
    Submit(submit::Submit),
    Call(call::Call),
    Get(get::Get),
    Watch(watch::Watch),
    Cancel(cancel::Cancel),
    Queues(queues::Queues),
    Queue(queue::Queue),
    Tasks(tasks::Tasks),
    Dead(dead::Dead),
    Blob(blob::Blob),
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    Operations(operations::Operations),
}

impl Cli {
    /// Whom the command speaks to.
    pub(crate) fn form(&self) -> Form {
        let json = match &self.command {
            Command::Serve(_) => false,
            Command::Provision(provision) => provision.json,
            Command::Credentials(credentials) => credentials.json,
            Command::Token(token) => token.json,
            Command::Submit(submit) => submit.remote.json,
            Command::Call(call) => call.remote.json,
            Command::Get(get) => get.remote.json,
            Command::Watch(watch) => watch.remote.json,
            Command::Cancel(cancel) => cancel.remote.json,
            Command::Queues(queues) => queues.remote.json,
            Command::Queue(queue) => queue.json(),
            Command::Tasks(tasks) => tasks.remote.json,
            Command::Dead(dead) => dead.json(),
            Command::Blob(blob) => blob.json(),
            Command::Audit(audit) => audit.json,
            Command::Doctor(doctor) => doctor.json,
            Command::Operations(operations) => operations.remote.json,
        };
        if json { Form::Json } else { Form::Words }
    }

    /// Whether the command takes SIGTERM as a wish, and finishes what it does.
    pub(crate) fn leaves_by_itself(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    /// Runs the command that was asked for.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Provision(provision) => provision.run().await,
            Command::Credentials(credentials) => credentials.run(),
            Command::Token(token) => token.run(),
            Command::Submit(submit) => submit.run().await,
            Command::Call(call) => call.run().await,
            Command::Get(get) => get.run().await,
            Command::Watch(watch) => watch.run().await,
            Command::Cancel(cancel) => cancel.run().await,
            Command::Queues(queues) => queues.run().await,
            Command::Queue(queue) => queue.run().await,
            Command::Tasks(tasks) => tasks.run().await,
            Command::Dead(dead) => dead.run().await,
            Command::Blob(blob) => blob.run().await,
            Command::Audit(audit) => audit.run().await,
            Command::Doctor(doctor) => doctor.run().await,
            Command::Operations(operations) => operations.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_options_of_all_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
