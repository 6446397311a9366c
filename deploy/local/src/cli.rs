//! What can be asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scaling::Replicas;

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
    /// Show a fleet at work: pictures in, thumbnails out, one trace
    Demo(DemoArgs),
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
