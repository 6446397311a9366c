//! `workfleet tasks`: the tasks of a queue.

use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use workfleet_dispatcher::limits::{LIST_TASKS_DEFAULT, LIST_TASKS_MAX};

use super::fault::{Fault, Form};
use super::print;
use super::remote::{Client, Remote};
use super::task::Task;

/// List the tasks of a queue: what runs, waits, is scheduled, and has ended
///
/// What runs and waits comes first, oldest first, then what is scheduled or waits for a retry, then what has ended,
/// newest first. Outputs are not listed; `workfleet get` shows one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet tasks thumbnail
  workfleet tasks thumbnail --state failed --label tier:gold
  workfleet tasks thumbnail --state failed --all --json | jq -r .failure.code | sort | uniq -c")]
pub(crate) struct Tasks {
    /// The queue
    queue: String,
    /// Only tasks in this state: scheduled, queued, running, retrying, completed, failed, cancelled or expired
    #[arg(long)]
    state: Option<String>,
    /// Only tasks with this label; several: with all of them
    #[arg(long = "label", value_name = "KEY:VALUE")]
    labels: Vec<String>,
    /// Most tasks to list
    #[arg(long, default_value_t = LIST_TASKS_DEFAULT as u64, value_parser = clap::value_parser!(u64).range(1..=LIST_TASKS_MAX as u64))]
    limit: u64,
    /// List every task; with --json one in a line
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin where an earlier list ended, at its `next`
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// A page as it came.
struct Page {
    tasks: Vec<Value>,
    next: Option<String>,
}

impl Tasks {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let mut listed = Listed::new(&self);
        let mut cursor = self.cursor.clone();
        // A page may be short, or empty, and have a next one.
        loop {
            let missing = if self.all { LIST_TASKS_MAX as u64 } else { self.limit - listed.count };
            let page = self.page(&client, missing, cursor.as_deref()).await?;
            listed.add(page.tasks)?;
            cursor = page.next;
            if cursor.is_none() || (!self.all && listed.count >= self.limit) {
                return listed.end(cursor);
            }
        }
    }

    async fn page(&self, client: &Client, limit: u64, cursor: Option<&str>) -> Result<Page, Fault> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(self.state.iter().map(|state| ("state", state.clone())));
        query.extend(self.labels.iter().map(|label| ("label", label.clone())));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let request = client.request(Method::GET, &["v1", "queues", &self.queue, "tasks"]).query(&query);
        let mut document = client.json(request).await?;
        let next = document["next"].as_str().map(ToOwned::to_owned);
        match document["tasks"].take() {
            Value::Array(tasks) => Ok(Page { tasks, next }),
            _ => Err(Fault::Unreachable("the answer is not a list of tasks; is this a dispatcher?".to_owned())),
        }
    }

    fn form(&self) -> Form {
        if self.remote.json { Form::Json } else { Form::Words }
    }
}

/// What was listed so far. It is printed as it comes, and kept only where one document is asked for.
struct Listed {
    form: Form,
    all: bool,
    count: u64,
    kept: Vec<Value>,
}

impl Listed {
    fn new(tasks: &Tasks) -> Self {
        Self { form: tasks.form(), all: tasks.all, count: 0, kept: Vec::new() }
    }

    fn add(&mut self, tasks: Vec<Value>) -> Result<(), Fault> {
        let is_first = self.count == 0;
        self.count += tasks.len() as u64;
        match (self.form, self.all) {
            (Form::Json, true) => tasks.iter().try_for_each(print::json_line),
            (Form::Json, false) => {
                self.kept.extend(tasks);
                Ok(())
            }
            (Form::Words, _) => rows(tasks, is_first),
        }
    }

    fn end(self, next: Option<String>) -> Result<(), Fault> {
        match (self.form, self.all) {
            (Form::Json, true) => Ok(()),
            (Form::Json, false) => print::json(&json!({ "tasks": self.kept, "next": next })),
            (Form::Words, _) if self.count == 0 => print::line("There is no such task."),
            (Form::Words, _) => match next {
                Some(next) => print::line(&format!("\nThere may be more: --all, or --cursor {next}")),
                None => Ok(()),
            },
        }
    }
}

/// A row for each task. Columns have their own widths, since a later page must fit under the first.
fn rows(tasks: Vec<Value>, with_head: bool) -> Result<(), Fault> {
    for (at, document) in tasks.into_iter().enumerate() {
        let task = Task::read(document)?;
        let width = task.fields.id.len();
        if with_head && at == 0 {
            let head =
                format!("{:<width$}  {:<9}  {:<7}  {:<20}  {:<20}", "TASK", "STATE", "ATTEMPT", "SUBMITTED", "ENDED");
            print::line(head.trim_end())?;
        }
        print::line(row(&task, width).trim_end())?;
    }
    Ok(())
}

fn row(task: &Task, width: usize) -> String {
    let fields = &task.fields;
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let attempt = format!("{}/{}", fields.attempt, fields.attempts_max);
    let (submitted, ended) = (time(fields.submitted_at), time(fields.ended_at));
    let line = format!("{:<width$}  {:<9}  {attempt:<7}  {submitted:<20}  {ended:<20}  ", fields.id, fields.state);
    let progress = fields.progress.as_ref().map(|progress| format!("{} % {}", progress.percent, progress.message));
    let failure = fields.failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message));
    // One line for each task, whatever a handler has said.
    let words = progress.or(failure).unwrap_or_default().replace(|c: char| c.is_control(), " ");
    line + &words
}

#[cfg(test)]
mod tests {
    use super::{Task, row};
    use serde_json::json;

    #[test]
    fn a_task_is_one_line_whatever_its_handler_said() {
        let document = json!({
            "id": "a_1", "state": "failed", "attempt": 2, "attempts_max": 5, "submitted_at": "2026-11-23T14:00:00.123Z",
            "ended_at": null, "failure": {"code": "bad_image", "message": "no\nimage\u{1b}[2J"},
        });
        let row = row(&Task::read(document).expect("a task"), 5);
        assert_eq!(
            row,
            "a_1    failed     2/5      2026-11-23T14:00:00Z  -                     bad_image: no image [2J"
        );
    }
}
