//! `workfleet audit`: whether anything that was accepted is lost.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::json;
use workfleet_dispatcher::Dispatcher;
use workfleet_dispatcher::audit::{self, AuditError, Letters};
use workfleet_dispatcher::ledger::{self, LedgerError, LedgerFile, Read};
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::config::Vars;
use workfleet_proto::id::QueueName;

use super::fault::{Fault, Form};
use super::print;
use super::provision::{connect, explained};

/// Ids of one kind that a person is shown.
const IDS_SHOWN_MAX: usize = 20;

/// Look where every task of a ledger is, and name those that are lost
///
/// A ledger is what `workfleet submit --log FILE` writes: a line of JSON with the id of each task that was accepted, or
/// the id alone. With --queue it is the one that dispatchers keep of a queue whose settings say `ledger = true`, with
/// --ledgers all of those. Speaks to the broker itself, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0, each task is accounted for; 1, some are lost, unreadable, or failed without a dead letter; 2, the ledger
cannot be read, or has lines that name no task; 3, the broker does not answer.

Examples:
  workfleet audit accepted.ndjson
  workfleet audit --queue thumbnail --json | jq '.lost'
  workfleet audit --ledgers")]
pub(crate) struct Audit {
    /// Ledgers; - is the standard input
    #[arg(required_unless_present_any = ["queues", "ledgers"], value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The ledger of this queue; may be given again
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<QueueName>,
    /// The ledgers of all queues that keep one
    #[arg(long, conflicts_with = "queues")]
    ledgers: bool,
    /// Failed tasks may lack their dead letters: they were dropped on purpose
    #[arg(long)]
    letters_dropped: bool,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Print the counts and the ids as JSON
    #[arg(long)]
    pub(super) json: bool,
}

type Lines = BoxStream<'static, Result<Read, LedgerError>>;

impl Audit {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let mut vars = Vars::from_env();
        let mut config = BrokerConfig::read(&mut vars, "workfleet-audit");
        config = vars.finish(config).map_err(|error| Fault::Usage(error.to_string()))?;
        config.url = self.nats.clone().unwrap_or(config.url);
        let files = self.files.iter().map(|path| file(path)).collect::<Result<Vec<_>, _>>()?;
        let form = if self.json { Form::Json } else { Form::Words };
        let broker = connect(&config, form).await?;
        let audited = self.audit(&broker, files).await.map_err(|fault| explained(&broker, fault));
        broker.close().await;
        let audited = audited?;
        if self.json {
            print::json(&json!(audited))?;
        } else {
            show(&audited)?;
        }
        self.verdict(&audited, &config.address())
    }

    async fn audit(&self, broker: &Broker, mut ledgers: Vec<Lines>) -> Result<audit::Audit, Fault> {
        let every = if self.ledgers { ledger::queues(broker).await.map_err(AuditError::from)? } else { Vec::new() };
        for queue in self.queues.iter().chain(&every) {
            ledgers.push(ledger::of_queue(broker, queue).await.map_err(AuditError::from)?.boxed());
        }
        Ok(Dispatcher::new(broker.clone()).audit(stream::iter(ledgers).flatten()).await?)
    }

    /// `address` is told where nothing is known: on a machine with two fleets, the default one is easily the wrong one.
    fn verdict(&self, audited: &audit::Audit, address: &str) -> Result<(), Fault> {
        let letters = if self.letters_dropped { Letters::MayBeDropped } else { Letters::Kept };
        if !audited.accounts_for_all(letters) {
            let (lost, unreadable) = (audited.lost.len(), audited.unreadable.len());
            let letters = audited.failed_without_letter.len();
            let hint = if audited.knows_none() {
                format!(
                    "; none of them is known at {address}: is that the broker where they were accepted (--nats), and the \
                     fleet (WORKFLEET_PREFIX)?"
                )
            } else {
                String::new()
            };
            let dropped = if letters > 0 { "; if they were dropped on purpose, say --letters-dropped" } else { "" };
            return Err(Fault::Found(format!(
                "of {} accepted tasks, {lost} are lost, {unreadable} unreadable, {letters} failed without a dead \
                 letter{hint}{dropped}",
                audited.total
            )));
        }
        if !audited.unreadable_lines.is_empty() {
            let lines = audited.unreadable_lines.join(" ");
            return Err(Fault::Usage(format!("the ledger has lines that name no task: {lines}")));
        }
        Ok(())
    }
}

/// Opened before anything is asked of the broker.
fn file(path: &Path) -> Result<Lines, Fault> {
    let source: Box<dyn std::io::Read + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let unreadable = |error| Fault::Usage(format!("cannot read {}: {error}", path.display()));
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    Ok(stream::iter(LedgerFile::new(&path.display().to_string(), BufReader::new(source))).boxed())
}

fn show(audited: &audit::Audit) -> Result<(), Fault> {
    let counts = [
        ("accepted", audited.total),
        ("waiting", audited.waiting),
        ("scheduled", audited.scheduled),
        ("running", audited.running),
        ("completed", audited.completed),
        ("failed", audited.failed),
        ("cancelled", audited.cancelled),
        ("expired", audited.expired),
        ("lost", audited.lost.len() as u64),
    ];
    // What is hardly ever there is shown when it is.
    let rare = [
        ("no longer kept", audited.beyond_retention),
        ("failed without a dead letter", audited.failed_without_letter.len() as u64),
        ("redrive unfinished", audited.redrive_unfinished.len() as u64),
        ("unreadable", audited.unreadable.len() as u64),
        ("repeated lines", audited.repeated),
        ("torn lines", audited.torn_lines),
    ];
    let rows = counts.into_iter().chain(rare.into_iter().filter(|(_, count)| *count > 0));
    print::pairs(rows.map(|(name, count)| (name, count.to_string())).collect())?;
    name("Lost", &audited.lost, audited.lost.len() as u64)?;
    let without = &audited.failed_without_letter;
    name("Failed without a dead letter", without, without.len() as u64)?;
    let unfinished = &audited.redrive_unfinished;
    name("Redrive unfinished; redrive again", unfinished, unfinished.len() as u64)?;
    name("Unreadable", &audited.unreadable, audited.unreadable.len() as u64)?;
    let old = "No longer kept: submitted, or due, longer ago than results are kept, so nobody can tell";
    name(old, &audited.no_longer_kept, audited.beyond_retention)
}

/// The first of `count` ids, of which `ids` are known.
fn name(what: &str, ids: &[String], count: u64) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    print::line(&format!("\n{what}:"))?;
    ids.iter().take(IDS_SHOWN_MAX).try_for_each(|id| print::line(&format!("  {id}")))?;
    let more = count.saturating_sub(IDS_SHOWN_MAX as u64);
    let named = if count > ids.len() as u64 { "--json names more" } else { "--json names them all" };
    if more > 0 { print::line(&format!("  and {more} more; {named}")) } else { Ok(()) }
}

impl From<AuditError> for Fault {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Broker(_) | AuditError::Ledger(LedgerError::Stream(_)) => Self::Unreachable(error.to_string()),
            AuditError::TooLong
            | AuditError::Ledger(LedgerError::File { .. } | LedgerError::NoLedger { .. } | LedgerError::NoLedgers) => {
                Self::Usage(error.to_string())
            }
        }
    }
}
