//! `workfleet tasks`: the tasks of a queue.

use clap::Args;
use jiff::Timestamp;

use super::fault::{Fault, Form};
use super::pages::{self, Pages};
use super::remote::Remote;
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
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Tasks {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let mut query: Vec<_> = self.state.iter().map(|state| ("state", state.clone())).collect();
        query.extend(self.labels.iter().map(|label| ("label", label.clone())));
        let list = pages::List {
            path: &["v1", "queues", &self.queue, "tasks"],
            query,
            name: "tasks",
            each: "task",
            none: "There is no such task.".to_owned(),
            head: format!("{:<9}  {:<7}  {:<20}  ENDED", "STATE", "ATTEMPT", "SUBMITTED"),
            row,
        };
        self.pages.list(&client, &list, if self.remote.json { Form::Json } else { Form::Words }).await
    }
}

fn row(task: &Task) -> String {
    let fields = &task.fields;
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let attempt = format!("{}/{}", fields.attempt, fields.attempts_max);
    let (submitted, ended) = (time(fields.submitted_at), time(fields.ended_at));
    let progress = fields.progress.as_ref().map(|progress| format!("{} % {}", progress.percent, progress.message));
    let failure = fields.failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message));
    let words = pages::one_line(&progress.or(failure).unwrap_or_default());
    format!("{}  {:<9}  {attempt:<7}  {submitted:<20}  {ended:<20}  {words}", fields.id, fields.state)
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
        let row = row(&Task::read(document).expect("a task"));
        assert_eq!(row, "a_1  failed     2/5      2026-11-23T14:00:00Z  -                     bad_image: no image [2J");
    }
}
