//! `workfleet provision`: makes the queues.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_dispatcher::streams::{self, Change, Losses, ProvisionError, Report};
use workfleet_link::broker::{Broker, BrokerConfig, BrokerError};
use workfleet_link::config::Vars;

use super::fault::{Fault, Form};
use super::print;

/// When a person is told that there is no answer yet.
const NOTICE_AFTER: Duration = Duration::from_millis(500);

/// Make, or change, the queues that a file describes, and say what was done
///
/// Speaks to the broker itself. Running it again changes nothing; queues that the file does not name stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  workfleet provision --queues deploy/local/queues.toml

At a broker with `workfleet credentials`, two variables of its role:
  WORKFLEET_NATS_NKEY_FILE=credentials/provision.nk  WORKFLEET_NATS_INBOX_PREFIX=_INBOX_provision")]
pub(crate) struct Provision {
    /// The queues, in TOML
    #[arg(long, value_name = "FILE", env = "WORKFLEET_QUEUES_FILE")]
    queues: PathBuf,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Change limits also where that drops results or blobs that are stored; without it nothing is changed then
    #[arg(long)]
    allow_loss: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Provision {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let file = QueuesFile::read(&self.queues).map_err(|error| Fault::Usage(error.to_string()))?;
        let mut vars = Vars::from_env();
        let mut config = BrokerConfig::read(&mut vars, "workfleet-provision");
        config = vars.finish(config).map_err(|error| Fault::Usage(error.to_string()))?;
        config.url = self.nats.unwrap_or(config.url);
        let form = if self.json { Form::Json } else { Form::Words };
        let broker = connect(&config, form).await?;
        let losses = if self.allow_loss { Losses::Allowed } else { Losses::Refused };
        let report =
            streams::provision_with(&broker, &file, losses).await.map_err(|error| explained(&broker, error.into()));
        broker.close().await;
        let report = report?;
        if self.json { print::json(&json!(report)) } else { show(&report) }
    }
}

/// A broker that is not there is waited for; a person should not wonder for what.
pub(super) async fn connect(config: &BrokerConfig, form: Form) -> Result<Broker, BrokerError> {
    let mut connecting = std::pin::pin!(Broker::connect(config));
    if let Ok(connected) = tokio::time::timeout(NOTICE_AFTER, &mut connecting).await {
        return connected;
    }
    if form == Form::Words {
        // Where it cannot be written, there is nobody who could wonder.
        let time = humantime::format_duration(config.connect_timeout);
        let _ = writeln!(std::io::stderr(), "workfleet: no NATS server answers yet, trying for {time}");
    }
    connecting.await
}

/// Why nobody answers, where the broker has said it.
pub(super) fn explained(broker: &Broker, fault: Fault) -> Fault {
    match (fault, broker.refusal()) {
        (Fault::Unreachable(_), Some(refusal)) => refusal.into(),
        (fault, _) => fault,
    }
}

fn show(report: &Report) -> Result<(), Fault> {
    let rows = report.lines.iter().map(|line| [line.name.clone(), word(line.change).to_owned(), line.settings.clone()]);
    print::table(["NAME", "CHANGE", "SETTINGS"], rows)
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Updated => "changed",
        Change::Unchanged => "unchanged",
        Change::Removed => "removed",
    }
}

impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Refused { .. } | BrokerError::AnswersRefused { .. } => Self::Denied(error.to_string()),
            BrokerError::Address { .. } | BrokerError::Credentials { .. } => Self::Usage(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<ProvisionError> for Fault {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Unanswered { .. } => Self::Unreachable(error.to_string()),
            ProvisionError::Refused { .. }
            | ProvisionError::NoRoom { .. }
            | ProvisionError::LaneInUse { .. }
            | ProvisionError::WouldDrop { .. }
            | ProvisionError::UnknownQueue { .. }
            | ProvisionError::QueueInUse { .. }
            | ProvisionError::Alert { .. }
            | ProvisionError::Kind { .. } => Self::Denied(error.to_string()),
        }
    }
}
