//! `up`: a fleet until somebody has had enough of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::checkout::{Programs, queues_file};
use crate::cli::UpArgs;
use crate::control;
use crate::data::Data;
use crate::error::LocalError;
use crate::fleet::{Commands, Fleet};
use crate::queues;
use crate::roster::{Addresses, Cast, Roster};
use crate::scaling::{Replicas, scaling};
use crate::signals::Signals;
use crate::terminal::Terminal;

/// How a fleet is to be.
pub(crate) struct Plan {
    pub(crate) data: PathBuf,
    pub(crate) queues: Option<PathBuf>,
    pub(crate) replicas: Vec<Replicas>,
    /// Folder for mails and webhooks that arrive; the fleet's own where nothing is said.
    pub(crate) received: Option<PathBuf>,
    /// Variables that say where spans go; empty: to Jaeger, where it is.
    pub(crate) telemetry: Vec<(&'static str, OsString)>,
}

/// Runs the command.
pub(crate) async fn up(args: UpArgs, terminal: Terminal) -> Result<(), LocalError> {
    let signals = Signals::listen()?;
    let UpArgs { data, queues, replicas } = args;
    let plan = Plan { data, queues, replicas, received: None, telemetry: Vec::new() };
    let data = plan.data.clone();
    let (fleet, commands) = prepare(plan, &terminal)?;
    tokio::spawn(signals.command(commands, terminal.clone()));
    let (ready, is_ready) = oneshot::channel();
    tokio::spawn(async move {
        if let Ok(addresses) = is_ready.await {
            terminal.say(&welcome(&addresses, &data));
        }
    });
    fleet.run(ready).await
}

/// Everything before the first process is started: what is wrong with a plan is found here.
pub(crate) fn prepare(plan: Plan, terminal: &Terminal) -> Result<(Fleet, Commands), LocalError> {
    let data = Data::open(&plan.data)?;
    let queues_file = plan.queues.map_or_else(queues_file, Ok)?;
    let queues_file = queues_file.canonicalize().map_err(LocalError::file(&queues_file))?;
    let programs = Programs::find()?;
    let mut workers = queues::names(&queues_file)?;
    workers.retain(|queue| match programs.worker(queue) {
        Ok(_) => true,
        Err(error) => {
            terminal.say(&format!("queue `{queue}` has no worker here: {error}"));
            false
        }
    });
    let scaling = scaling(&workers, &plan.replicas)?;
    let received = plan.received.unwrap_or_else(|| data.root.clone());
    let cast = Cast { programs, queues_file, workers, received, telemetry: plan.telemetry };
    let roster = Roster::new(cast, &data, terminal)?;
    let root = data.root.clone();
    let (fleet, commands) = Fleet::new(data, roster, scaling, terminal.clone());
    control::serve(&root, commands.clone())?;
    Ok((fleet, commands))
}

fn welcome(addresses: &Addresses, data: &Path) -> String {
    let Addresses { nats, http, grpc, jaeger, mail_sink, webhook_receiver, .. } = addresses;
    let mut text = format!(
        "\nThe fleet is up. Ctrl-C drains it.\n\
         \x20 REST    http://{http}\n  gRPC    http://{grpc}\n  NATS    nats://{nats}\n"
    );
    if let Some(jaeger) = jaeger {
        text += &format!("  Jaeger  http://{}/api/v3/services (an API and no web pages)\n", jaeger.query);
    }
    if let Some(sink) = mail_sink {
        text += &format!("  mails   {} (all of them; SMTP on {})\n", sink.received.display(), sink.address);
    }
    if let Some(sink) = webhook_receiver {
        let (address, file) = (sink.address, sink.received.display());
        text += &format!("  hooks   http://{address}, a receiver that checks signatures and writes to {file}\n");
    }
    let logs = data.join("logs");
    text + &format!("  logs    {}\nFor the commands of `workfleet`:\n  {}\n", logs.display(), addresses.exports())
}
