//! `workfleet cancel`: end tasks that have not ended.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::fault::{Fault, Faults, Form};
use super::print;
use super::remote::{Client, Remote};

/// Tasks that move while others are cancelled may be missed; so it begins anew until none is found, this often at most.
const ROUNDS_MAX: usize = 10;

/// End tasks that have not ended: by their ids, or all of a queue that fit
///
/// A cancel that was acknowledged holds, also while every worker is down. A handler that runs is told; what it still does
/// is not recorded. Tasks that have ended stay as they are.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("condition").multiple(true))]
#[command(after_help = "\
Examples:
  workfleet cancel thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --reason 'wrong image'
  workfleet cancel --queue thumbnail --label import:17 --yes
  workfleet cancel --queue thumbnail --label import:17 --state scheduled --yes --json")]
pub(crate) struct Cancel {
    /// The tasks' ids
    #[arg(required_unless_present_any = ["queue", "condition"], conflicts_with_all = ["queue", "condition"], value_name = "ID")]
    ids: Vec<String>,
    /// The queue whose tasks are to end that have the labels, or are in the state
    #[arg(long, value_name = "QUEUE", requires = "condition")]
    queue: Option<String>,
    /// Only tasks with this label; several: with all of them
    #[arg(long = "label", value_name = "KEY:VALUE", group = "condition", requires = "queue")]
    labels: Vec<String>,
    /// Only tasks in this state: scheduled, queued, running or retrying
    #[arg(long, group = "condition", requires = "queue")]
    state: Option<String>,
    /// Why; it stands in the tasks' failures and in the operators' log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask
    #[arg(long, requires = "queue")]
    yes: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Cancel {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        match &self.queue {
            Some(queue) => self.many(&client, queue).await,
            None => self.each(&client).await,
        }
    }

    /// One after the other. The first that cannot be cancelled does not keep the others.
    async fn each(&self, client: &Client) -> Result<(), Fault> {
        let mut faults = Faults::new(&self.remote);
        for id in &self.ids {
            let request = client.request(Method::DELETE, &["v1", "tasks", id]);
            let request = if self.reason.is_empty() { request } else { request.query(&[("reason", &self.reason)]) };
            match client.json(request).await {
                Ok(task) => self.show(id, &task)?,
                Err(fault) => faults.add(fault)?,
            }
        }
        faults.verdict()
    }

    fn show(&self, id: &str, task: &Value) -> Result<(), Fault> {
        match (self.form(), self.ids.len()) {
            (Form::Json, 1) => print::json(task),
            (Form::Json, _) => print::json_line(task),
            (Form::Words, _) => print::line(&format!("{id}  cancelled{}", unanswered(task))),
        }
    }

    async fn many(&self, client: &Client, queue: &str) -> Result<(), Fault> {
        if !self.yes {
            self.ask(queue)?;
        }
        let mut sum = Sum::default();
        for _ in 0..ROUNDS_MAX {
            let before = sum.cancelled;
            sum.problems.clear();
            let mut cursor = None;
            loop {
                let page = self.page(client, queue, cursor.as_deref()).await?;
                sum.add(&page);
                cursor = page["next"].as_str().map(ToOwned::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            if sum.cancelled == before {
                break;
            }
        }
        self.show_sum(&sum)
    }

    async fn page(&self, client: &Client, queue: &str, cursor: Option<&str>) -> Result<Value, Fault> {
        let mut filter = Map::new();
        filter.insert("labels".to_owned(), labels(&self.labels)?);
        filter.insert("state".to_owned(), json!(self.state));
        filter.insert("cursor".to_owned(), json!(cursor));
        let request = client.request(Method::POST, &["v1", "queues", queue, "tasks:cancel"]);
        client.json(request.json(&json!({ "filter": filter, "reason": self.reason }))).await
    }

    fn ask(&self, queue: &str) -> Result<(), Fault> {
        if !io::stdin().is_terminal() {
            return Err(Fault::Usage("there is no terminal to ask at; --yes does it without asking".to_owned()));
        }
        let state = self.state.as_deref().map(|state| format!(" that are {state}")).unwrap_or_default();
        let labels = if self.labels.is_empty() { String::new() } else { format!(" with {}", self.labels.join(" ")) };
        write!(io::stderr(), "Cancel all tasks of {queue}{state}{labels} at {}? Type yes: ", self.remote.url)?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        if line.trim_end() == "yes" { Ok(()) } else { Err(Fault::Usage("nothing was cancelled".to_owned())) }
    }

    fn show_sum(&self, sum: &Sum) -> Result<(), Fault> {
        if self.form() == Form::Json {
            print::json(&json!({
                "cancelled": sum.cancelled, "ended": sum.ended, "workers_unanswered": sum.unanswered,
                "problems": sum.problems,
            }))?;
        } else {
            let words = unanswered(&json!({ "workers_unanswered": sum.unanswered }));
            print::line(&format!("{} tasks cancelled{words}", sum.cancelled))?;
        }
        match sum.problems.first() {
            None => Ok(()),
            Some(first) => {
                let detail = first["detail"].as_str().unwrap_or_default();
                let count = sum.problems.len();
                Err(Fault::Unreachable(format!("{count} or more could not be cancelled now; try again: {detail}")))
            }
        }
    }

    fn form(&self) -> Form {
        if self.remote.json { Form::Json } else { Form::Words }
    }
}

/// What came of all calls.
#[derive(Debug, Default)]
struct Sum {
    cancelled: u64,
    ended: u64,
    /// The most of any call: each asks the same workers.
    unanswered: u64,
    /// Of the last round: what an earlier one met has been tried again.
    problems: Vec<Value>,
}

impl Sum {
    fn add(&mut self, page: &Value) {
        let number = |name: &str| page[name].as_u64().unwrap_or(0);
        self.cancelled += number("cancelled");
        self.ended += number("ended");
        self.unanswered = self.unanswered.max(number("workers_unanswered"));
        self.problems.extend(page["problems"].as_array().cloned().unwrap_or_default());
    }
}

fn labels(texts: &[String]) -> Result<Value, Fault> {
    let mut labels = Map::new();
    for text in texts {
        let wrong = || Fault::Usage(format!("--label {text}: write KEY:VALUE"));
        let (key, value) = text.split_once(':').ok_or_else(wrong)?;
        if labels.insert(key.to_owned(), Value::from(value)).is_some() {
            return Err(Fault::Usage(format!("the label {key} is given twice")));
        }
    }
    Ok(Value::Object(labels))
}

fn unanswered(answer: &Value) -> String {
    match answer["workers_unanswered"].as_u64() {
        None | Some(0) => String::new(),
        Some(1) => "; 1 worker has not confirmed, and what it does is not recorded".to_owned(),
        Some(count) => format!("; {count} workers have not confirmed, and what they do is not recorded"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancel, labels, unanswered};
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cancel: Cancel,
    }

    #[test]
    fn conditions_are_given_together_and_one_at_least() {
        let read = |words: &str| Line::try_parse_from(["cancel"].into_iter().chain(words.split(' ')));
        let line = read("--queue mail --label a:1 --label b:2 --state scheduled").expect("all together");
        assert_eq!((line.cancel.labels.len(), line.cancel.state.as_deref()), (2, Some("scheduled")));
        assert!(
            read("--queue mail").is_err() && read("--label a:1").is_err() && read("mail_1 --state queued").is_err()
        );
    }

    #[test]
    fn labels_are_pairs_and_values_may_have_colons() {
        let texts = ["tier:gold".to_owned(), "url:http://a".to_owned()];
        assert_eq!(labels(&texts).expect("pairs"), json!({ "tier": "gold", "url": "http://a" }));
        assert!(labels(&["gold".to_owned()]).is_err());
        assert!(labels(&["a:1".to_owned(), "a:2".to_owned()]).is_err());
    }

    #[test]
    fn who_has_not_confirmed_is_named_where_there_is_anybody() {
        assert_eq!(unanswered(&json!({ "workers_unanswered": 0 })), "");
        assert!(unanswered(&json!({ "workers_unanswered": 3 })).contains("3 workers"));
    }
}
