//! `workfleet queues`: the queues, what waits in them, and who works on them.

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;

use super::fault::Fault;
use super::print;
use super::remote::Remote;
use super::task::{between, milliseconds};

/// List the queues, or show one with its workers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet queues
  workfleet queues thumbnail
  workfleet queues --json | jq '.queues[] | select(.waiting > 100).name'")]
pub(crate) struct Queues {
    /// One queue alone
    name: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Queues {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let mut path = vec!["v1", "queues"];
        path.extend(self.name.as_deref());
        let document = client.get(&path).await?;
        if self.remote.json {
            return print::json(&document);
        }
        let unreadable =
            |error| Fault::Unreachable(format!("the answer is not a queue ({error}); is this a dispatcher?"));
        if self.name.is_some() {
            Queue::deserialize(&document).map_err(unreadable)?.show()
        } else {
            show_all(&List::deserialize(&document).map_err(unreadable)?)
        }
    }
}

#[derive(Debug, Deserialize)]
struct List {
    queues: Vec<Queue>,
    #[serde(default)]
    unreadable: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Queue {
    name: String,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    waiting: u64,
    #[serde(default)]
    running: u64,
    #[serde(default)]
    scheduled: u64,
    #[serde(default)]
    dead: u64,
    oldest_waiting_ms: Option<u64>,
    #[serde(default)]
    workers: Vec<Worker>,
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    id: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    slots: u32,
    #[serde(default)]
    busy: u32,
    started_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(default)]
    input: String,
    #[serde(default)]
    output: String,
}

impl Queue {
    fn oldest(&self) -> String {
        self.oldest_waiting_ms.map_or_else(|| "-".to_owned(), milliseconds)
    }

    fn slots(&self) -> String {
        let sum = |count: fn(&Worker) -> u32| self.workers.iter().map(|worker| u64::from(count(worker))).sum::<u64>();
        format!("{}/{}", sum(|worker| worker.busy), sum(|worker| worker.slots))
    }

    fn show(&self) -> Result<(), Fault> {
        let mut rows = vec![
            ("queue", self.name.clone()),
            ("paused", if self.paused { "yes" } else { "no" }.to_owned()),
            ("waiting", self.waiting.to_string()),
            ("oldest", self.oldest()),
            ("running", self.running.to_string()),
            ("scheduled", self.scheduled.to_string()),
            ("dead", self.dead.to_string()),
        ];
        if let Some(kind) = &self.kind {
            rows.push(("input", kind.input.clone()));
            rows.push(("output", kind.output.clone()));
        }
        print::pairs(rows)?;
        print::line("")?;
        if self.workers.is_empty() {
            return print::line("No worker is there: submitted tasks wait, calls are refused.");
        }
        let now = Timestamp::now();
        let rows = self.workers.iter().map(|worker| {
            let up = worker.started_at.map_or_else(|| "-".to_owned(), |started| between(started, now));
            [
                worker.id.clone(),
                worker.host.clone(),
                worker.version.clone(),
                format!("{}/{}", worker.busy, worker.slots),
                up,
            ]
        });
        print::table(["WORKER", "HOST", "VERSION", "BUSY", "UP"], rows)
    }
}

fn show_all(List { queues, unreadable }: &List) -> Result<(), Fault> {
    if queues.is_empty() && unreadable.is_empty() {
        return print::line("There are no queues; make some with `workfleet provision --queues FILE`.");
    }
    let rows = queues.iter().map(|queue| {
        let name = if queue.paused { format!("{} (paused)", queue.name) } else { queue.name.clone() };
        [
            name,
            queue.waiting.to_string(),
            queue.oldest(),
            queue.running.to_string(),
            queue.scheduled.to_string(),
            queue.dead.to_string(),
            queue.workers.len().to_string(),
            queue.slots(),
        ]
    });
    let unknown = unreadable.iter().map(|name| {
        let mut row = ["?"; 8].map(str::to_owned);
        row[0].clone_from(name);
        row
    });
    print::table(
        ["QUEUE", "WAITING", "OLDEST", "RUNNING", "SCHEDULED", "DEAD", "WORKERS", "BUSY"],
        rows.chain(unknown),
    )?;
    if !unreadable.is_empty() {
        print::line("?: the broker does not answer for the streams of this queue now")?;
    }
    Ok(())
}
