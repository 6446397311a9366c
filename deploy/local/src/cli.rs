//! What can be asked for.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scaling::Replicas;
use crate::sink::Rule;

/// The whole fleet on one machine, as real processes.
#[derive(Debug, Parser)]
#[command(name = "workfleet-local", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a fleet and keep it up until Ctrl-C, which drains it
    Up(UpArgs),
    /// Change how many replicas of a worker run in a fleet that is up
    Scale(ScaleArgs),
    /// Show a fleet at work: thumbnails, the webhooks that tell of them, mails, and one trace over two queues
    Demo(DemoArgs),
    /// Take mails over SMTP and write each to a file; for demos and tests
    MailSink(MailSinkArgs),
    /// Take signed webhooks over HTTP and write a line about each; for demos and tests
    WebhookReceiver(WebhookReceiverArgs),
    /// Become another program that dies with the supervisor
    #[command(hide = true)]
    Guard(GuardArgs),
}

/// How a fleet is started.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Folder for the broker's data, logs and fleet.json; kept from one run to the next
    #[arg(long, value_name = "DIR", default_value = ".fleet")]
    pub data: PathBuf,
    /// Queues file; the default is the project's own, deploy/local/queues.toml
    #[arg(long, value_name = "FILE")]
    pub queues: Option<PathBuf>,
    /// Replicas of a queue's worker; 2 where nothing is said
    #[arg(long = "scale", value_name = "QUEUE=N", value_delimiter = ',')]
    pub replicas: Vec<Replicas>,
}

/// How a running fleet is changed.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Folder of the fleet, as given to `up`
    #[arg(long, value_name = "DIR", default_value = ".fleet")]
    pub data: PathBuf,
    /// Replicas that are wanted; 0 is allowed
    #[arg(value_name = "QUEUE=N", required = true)]
    pub replicas: Vec<Replicas>,
}

/// How the demo ends.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave when all is shown; the exit code says whether all was well
    #[arg(long)]
    pub once: bool,
}

/// How mails are taken.
#[derive(Debug, Args)]
pub struct MailSinkArgs {
    /// Folder for the mails: 000001.eml and so on
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to listen; the file that WORKFLEET_ADDR_FILE names tells which port 0 became
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,
    /// What to do instead, as in `rcpt:ada@example.org=450x2`: `STAGE[:ADDRESS]=ACT[xTIMES]`; the stages are connect, auth,
    /// mail, rcpt, data and end, the acts a code, hang, drop and `wait<ms>`
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<Rule>,
}

/// How webhooks are taken.
#[derive(Debug, Args)]
pub struct WebhookReceiverArgs {
    /// Where to listen; the file that WORKFLEET_ADDR_FILE names tells which port 0 became
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,
    /// File with the secret, `whsec_` and base64
    #[arg(long, value_name = "FILE")]
    pub secret_file: PathBuf,
    /// File for the lines, which go to standard output otherwise
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What a guard becomes.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The supervisor; if it is gone already, nothing is started
    #[arg(long)]
    pub parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}
