//! `workfleet dead`: dead letters, listed, read, redriven, dropped.

mod act;
mod which;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::fault::{Fault, Form};
use super::print;
use super::remote::{Client, Remote};
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
    /// Most letters to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    /// List every letter; with --json one in a line
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin where an earlier list ended, at its `next`
    #[arg(long)]
    cursor: Option<String>,
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
        let (mut count, mut kept, mut cursor) = (0, Vec::new(), self.cursor.clone());
        // A page may be short, or empty, and have a next one.
        loop {
            let missing = if self.all { 1_000 } else { self.limit - count };
            let (letters, next) = self.page(&client, missing, cursor.as_deref()).await?;
            let is_first = count == 0;
            count += letters.len() as u64;
            match (form, self.all) {
                (Form::Json, true) => letters.iter().try_for_each(print::json_line)?,
                (Form::Json, false) => kept.extend(letters),
                (Form::Words, _) => rows(letters, is_first)?,
            }
            cursor = next;
            if cursor.is_none() || (!self.all && count >= self.limit) {
                break;
            }
        }
        match (form, self.all, cursor) {
            (Form::Json, true, _) => Ok(()),
            (Form::Json, false, next) => print::json(&json!({ "dead": kept, "next": next })),
            (Form::Words, _, _) if count == 0 && self.which.is_all() => {
                print::line(&format!("No dead letters in {}.", self.queue))
            }
            (Form::Words, _, _) if count == 0 => {
                print::line(&format!("No dead letters in {} meet these conditions.", self.queue))
            }
            (Form::Words, _, Some(next)) => print::line(&format!("\nThere may be more: --all, or --cursor {next}")),
            (Form::Words, _, None) => Ok(()),
        }
    }

    async fn page(
        &self,
        client: &Client,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), Fault> {
        let mut query = self.which.query();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let request = client.request(Method::GET, &["v1", "queues", &self.queue, "dead"]).query(&query);
        let mut document = client.json(request).await?;
        let next = document["next"].as_str().map(ToOwned::to_owned);
        match document["dead"].take() {
            Value::Array(letters) => Ok((letters, next)),
            _ => Err(Fault::Unreachable("the answer is not a list of dead letters; is this a dispatcher?".to_owned())),
        }
    }
}

/// A row for each letter. Columns have their own widths, since a later page must fit under the first.
fn rows(letters: Vec<Value>, with_head: bool) -> Result<(), Fault> {
    for (at, document) in letters.into_iter().enumerate() {
        let row = row(document)?;
        if with_head && at == 0 {
            let width = row.split(' ').next().unwrap_or_default().len();
            let head = format!("{:<width$}  {:<20}  {:<3}  {:<7}  FAILURE", "TASK", "DIED", "RUN", "ATTEMPT");
            print::line(&head)?;
        }
        print::line(row.trim_end())?;
    }
    Ok(())
}

fn row(document: Value) -> Result<String, Fault> {
    let task = Task::read(document)?;
    let fields = &task.fields;
    let died = task.document["dead_at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let died = died.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let attempt = format!("{}/{}", fields.attempt, fields.attempts_max);
    let run = task.document["run"].as_u64().unwrap_or(1);
    let failure = fields.failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message));
    // One line for each letter, whatever a handler has said.
    let failure = failure.unwrap_or_default().replace(|c: char| c.is_control(), " ");
    Ok(format!("{}  {died:<20}  {run:<3}  {attempt:<7}  {failure}", fields.id))
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
    use super::row;
    use serde_json::json;

    #[test]
    fn a_letter_is_one_line_whatever_its_handler_said() {
        let document = json!({
            "id": "a_1", "state": "failed", "attempt": 2, "attempts_max": 5, "dead_at": "2026-11-23T14:00:00.123Z",
            "run": 3, "failure": {"code": "bad_image", "message": "no\nimage"},
        });
        assert_eq!(row(document).expect("a row"), "a_1  2026-11-23T14:00:00Z  3    2/5      bad_image: no image");
    }
}
