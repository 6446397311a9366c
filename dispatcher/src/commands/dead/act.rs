//! What is done to dead letters: one by its id, or many of a queue.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::super::fault::{Fault, Faults};
use super::super::follow::tell_end;
use super::super::payload::{Field, read_json};
use super::super::print;
use super::super::remote::{Client, Remote};
use super::super::task::Task;
use super::which::{Which, letter, payload, queue_of};

/// Letters of one call: it has to end while we wait.
const LETTERS_A_CALL: u64 = 200;
/// Problems that are told of.
const PROBLEMS_SHOWN: usize = 10;

/// Put tasks of dead letters into their queue again, each as its next run
///
/// Names tasks by their ids, or a queue's letters by --queue with conditions or --all. A payload can be changed for one
/// task: --payload replaces it, --field sets fields in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet dead redrive thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc
  workfleet dead redrive thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --field width_px=64 --wait=30s
  workfleet dead redrive --queue thumbnail --code timeout --after 2026-11-23T14:00:00Z
  workfleet dead redrive --queue thumbnail --all --yes")]
pub(super) struct Redrive {
    #[command(flatten)]
    letters: Letters,
    /// Another payload, as JSON: a file, or - for the standard input; for named tasks alone, as all options from here to --wait
    #[arg(long, value_name = "@FILE|FILE|-", conflicts_with = "queue")]
    payload: Option<String>,
    /// Set one field of the payload: NAME=@FILE puts a file's bytes there as base64, NAME=VALUE any JSON, or text
    #[arg(long = "field", value_name = "NAME=@FILE|NAME=VALUE", conflicts_with = "queue")]
    fields: Vec<Field>,
    /// Expire the task unless it has ended by then: 10m from now, or a time (RFC 3339)
    #[arg(long, value_name = "DURATION|TIME", conflicts_with = "queue")]
    deadline: Option<String>,
    /// How often a handler may be started in the new run
    #[arg(long, value_name = "N", conflicts_with = "queue")]
    attempts_max: Option<u32>,
    /// Only a letter of this run: for asking again after no answer
    #[arg(long, value_name = "N", conflicts_with = "queue")]
    run: Option<u32>,
    /// Follow the tasks until they have ended, or each until this time has passed (exit code 4; it goes on)
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", require_equals = true,
          value_parser = humantime::parse_duration, conflicts_with = "queue")]
    wait: Option<Duration>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Delete dead letters; their tasks stay failed, and can never be redriven
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet dead drop thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc
  workfleet dead drop --queue thumbnail --before 2026-11-01T00:00:00Z --reason 'too old'")]
pub(super) struct Drop {
    #[command(flatten)]
    letters: Letters,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Which letters.
#[derive(Debug, Args)]
struct Letters {
    /// Ids of tasks
    #[arg(required_unless_present = "queue", conflicts_with = "queue")]
    ids: Vec<String>,
    /// Letters of this queue, by the conditions below
    #[arg(long)]
    queue: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Every letter of the queue that meets the conditions, and all of them without any
    #[arg(long, requires = "queue")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why; it stands in the operators' log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Redrive {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        if self.letters.queue.is_some() {
            return self.letters.many(&client, "redrive", &self.remote).await;
        }
        if self.letters.ids.len() > 1 && (self.payload.is_some() || !self.fields.is_empty()) {
            return Err(Fault::Usage("a payload is changed for one task at a time".to_owned()));
        }
        self.letters.check()?;
        let mut faults = Faults::new(&self.remote);
        let mut redriven = Vec::new();
        for id in &self.letters.ids {
            match self.one(&client, id).await {
                Ok(()) => redriven.push(id),
                Err(fault) => faults.add(fault)?,
            }
        }
        for id in redriven {
            let Some(wait) = self.wait else { break };
            if let Err(fault) = tell_end(&client, id, wait, &self.remote).await {
                faults.add(fault)?;
            }
        }
        faults.verdict()
    }

    async fn one(&self, client: &Client, id: &str) -> Result<(), Fault> {
        let path = format!("{id}:redrive");
        let request = client.request(Method::POST, &["v1", "queues", queue_of(id)?, "dead", &path]);
        let answer = client.json(request.json(&self.body(client, id).await?)).await;
        let task = Task::read(answer.map_err(|fault| of_letter(fault, id))?)?;
        let told = format!("{} {}", task.fields.id, task.fields.state);
        match self.wait {
            Some(_) => Ok(()),
            None if self.remote.json => print::json_line(&task.document),
            None => print::line(&told),
        }
    }

    async fn body(&self, client: &Client, id: &str) -> Result<Value, Fault> {
        let mut body = Map::new();
        if self.payload.is_some() || !self.fields.is_empty() {
            let mut changed = match &self.payload {
                Some(source) => read_json(source.strip_prefix('@').unwrap_or(source))?,
                None => payload(&letter(client, id).await?, id)?.clone(),
            };
            self.fields.iter().try_for_each(|field| field.put(&mut changed))?;
            body.insert("payload".to_owned(), changed);
        }
        body.extend(self.deadline.as_ref().map(|deadline| ("deadline".to_owned(), json!(deadline))));
        body.extend(self.attempts_max.map(|attempts| ("attempts_max".to_owned(), json!(attempts))));
        body.extend(self.run.map(|run| ("run".to_owned(), json!(run))));
        body.extend(self.letters.reason().map(|reason| ("reason".to_owned(), json!(reason))));
        Ok(Value::Object(body))
    }
}

impl Drop {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        if self.letters.queue.is_some() {
            return self.letters.many(&client, "drop", &self.remote).await;
        }
        self.letters.check()?;
        let mut faults = Faults::new(&self.remote);
        for id in &self.letters.ids {
            if let Err(fault) = self.one(&client, id).await {
                faults.add(fault)?;
            }
        }
        faults.verdict()
    }

    async fn one(&self, client: &Client, id: &str) -> Result<(), Fault> {
        let request = client.request(Method::DELETE, &["v1", "queues", queue_of(id)?, "dead", id]);
        let dropped = client.send(request.query(&self.letters.reason().map(|reason| [("reason", reason)]))).await;
        debug_assert_eq!(dropped.map_err(|fault| of_letter(fault, id))?.status(), StatusCode::NO_CONTENT);
        if self.remote.json { print::json_line(&json!({ "dropped": id })) } else { print::line(id) }
    }
}

impl Letters {
    /// Only where there is one: an older dispatcher refuses a body with names that it does not know.
    fn reason(&self) -> Option<&str> {
        Some(self.reason.as_str()).filter(|reason| !reason.is_empty())
    }

    /// Conditions say nothing about tasks that are named.
    fn check(&self) -> Result<(), Fault> {
        if self.which.is_all() {
            return Ok(());
        }
        Err(Fault::Usage("conditions choose among the letters of a --queue; tasks are named without any".to_owned()))
    }

    /// Page by page, until all have been seen.
    async fn many(&self, client: &Client, act: &str, remote: &Remote) -> Result<(), Fault> {
        let queue = self.queue.as_deref().unwrap_or_default();
        if self.which.is_all() && !self.all {
            return Err(Fault::Usage("name a condition, or say --all".to_owned()));
        }
        if !self.yes {
            self.ask(act, queue, remote)?;
        }
        let (mut done, mut gone, mut problems) = (0, 0, Vec::new());
        let mut filter = self.which.filter()?;
        filter["limit"] = json!(LETTERS_A_CALL);
        let path = format!("dead:{act}");
        loop {
            let request = client.request(Method::POST, &["v1", "queues", queue, &path]);
            let mut body = json!({ "filter": filter });
            if let Some(reason) = self.reason() {
                body["reason"] = json!(reason);
            }
            let mut answer = client.json(request.json(&body)).await?;
            done += answer["done"].as_u64().unwrap_or(0);
            gone += answer["gone"].as_u64().unwrap_or(0);
            if let Value::Array(more) = answer["problems"].take() {
                problems.extend(more);
            }
            match answer["next"].take() {
                Value::Null => break,
                next => filter["cursor"] = next,
            }
        }
        tell(act, &[done, gone], &problems, remote)
    }

    /// On the standard error, since the standard output may go elsewhere.
    fn ask(&self, act: &str, queue: &str, remote: &Remote) -> Result<(), Fault> {
        if !io::stdin().is_terminal() {
            return Err(Fault::Usage("there is no terminal to ask at; --yes does it without asking".to_owned()));
        }
        let what = if self.which.is_all() { "all dead letters" } else { "the dead letters that meet the conditions" };
        write!(io::stderr(), "{act} {what} of {queue} at {}? Type yes: ", remote.url)?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        if typed.trim() == "yes" { Ok(()) } else { Err(Fault::Usage("nothing was done".to_owned())) }
    }
}

/// A letter's payload stands in the letter alone.
fn of_letter(fault: Fault, id: &str) -> Fault {
    let Fault::Refused(mut problem) = fault else { return fault };
    problem.look_at = Some(format!("workfleet dead get {id}"));
    Fault::Refused(problem)
}

/// What came of it; letters that are still there are a fault.
fn tell(act: &str, [done, gone]: &[u64; 2], problems: &[Value], remote: &Remote) -> Result<(), Fault> {
    if remote.json {
        print::json(&json!({ "done": done, "gone": gone, "problems": problems }))?;
    } else {
        let acted = if act == "drop" { "dropped" } else { "redriven" };
        print::line(&format!("{done} {acted}, {gone} gone before, {} still there", problems.len()))?;
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        problems.iter().take(PROBLEMS_SHOWN).try_for_each(|problem| {
            print::line(&format!("  {}: {}", text(&problem["task_id"]), text(&problem["detail"])))
        })?;
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(Fault::Unreachable(format!("{count} dead letters are still there; try again later"))),
    }
}
