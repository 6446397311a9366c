//! `workfleet dead`: dead letters, listed, read, redriven, dropped.

mod act;
mod which;

use clap::{Args, Subcommand};

use super::fault::{Fault, Form};
use super::pages::{self, Pages};
use super::print;
use super::remote::Remote;
use super::task::Task;
use which::Which;

/// List, read, redrive and drop dead letters: tasks that were given up
#[derive(Debug, Args)]
pub(crate) struct Dead {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    List(List),
    Get(Get),
    Redrive(act::Redrive),
    Drop(act::Drop),
}

/// List the dead letters of a queue, the latest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet dead list thumbnail
  workfleet dead list thumbnail --code bad_image --after 2026-11-23T14:00:00Z
  workfleet dead list thumbnail --all --json | jq -r .failure.code | sort | uniq -c")]
struct List {
    /// The queue
    queue: String,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    remote: Remote,
}

/// Show a dead letter: why the task failed, its attempts, its payload
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet dead get thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc
  workfleet dead get thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --payload > payload.json")]
struct Get {
    /// The task's id
    id: String,
    /// Print the payload alone, as JSON and unshortened
    #[arg(long)]
    payload: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Dead {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self.act {
            Act::List(list) => list.run().await,
            Act::Get(get) => get.run().await,
            Act::Redrive(redrive) => redrive.run().await,
            Act::Drop(drop) => drop.run().await,
        }
    }

    pub(super) fn json(&self) -> bool {
        match &self.act {
            Act::List(list) => list.remote.json,
            Act::Get(get) => get.remote.json,
            Act::Redrive(redrive) => redrive.remote.json,
            Act::Drop(drop) => drop.remote.json,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let form = if self.remote.json { Form::Json } else { Form::Words };
        let none = match self.which.is_all() {
            true => format!("No dead letters in {}.", self.queue),
            false => format!("No dead letters in {} meet these conditions.", self.queue),
        };
        let list = pages::List {
            path: &["v1", "queues", &self.queue, "dead"],
            query: self.which.query(),
            name: "dead",
            each: "dead letter",
            head: format!("{:<20}  {:<3}  {:<7}  FAILURE", "DIED", "RUN", "ATTEMPT"),
            row,
            none,
        };
        self.pages.list(&client, &list, form).await
    }
}

fn row(task: &Task) -> String {
    let fields = &task.fields;
    let died = task.document["dead_at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let died = died.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let attempt = format!("{}/{}", fields.attempt, fields.attempts_max);
    let run = task.document["run"].as_u64().unwrap_or(1);
    let failure = fields.failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message));
    let failure = pages::one_line(&failure.unwrap_or_default());
    format!("{}  {died:<20}  {run:<3}  {attempt:<7}  {failure}", fields.id)
}

impl Get {
    async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let letter = which::letter(&client, &self.id).await?;
        if self.payload {
            return print::json(which::payload(&letter, &self.id)?);
        }
        if self.remote.json {
            return print::json(&letter);
        }
        let payload = &letter["payload"];
        let mut rows = vec![
            ("died", letter["dead_at"].as_str().unwrap_or("-").to_owned()),
            ("run", letter["run"].to_string()),
            ("reason", letter["reason"].as_str().unwrap_or("-").to_owned()),
        ];
        rows.extend((!payload.is_null()).then(|| ("payload", print::shortened(payload).to_string())));
        let blob = letter["payload_blob"].as_str();
        rows.extend(blob.map(|blob| ("payload", format!("large: workfleet blob get {blob}"))));
        Task::read(letter.clone())?.show()?;
        print::pairs(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, row};
    use serde_json::json;

    #[test]
    fn a_letter_is_one_line_whatever_its_handler_said() {
        let document = json!({
            "id": "a_1", "state": "failed", "attempt": 2, "attempts_max": 5, "dead_at": "2026-11-23T14:00:00.123Z",
            "run": 3, "failure": {"code": "bad_image", "message": "no\nimage"},
        });
        assert_eq!(
            row(&Task::read(document).expect("a task")),
            "a_1  2026-11-23T14:00:00Z  3    2/5      bad_image: no image"
        );
    }
}
