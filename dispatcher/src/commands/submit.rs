//! `workfleet submit`: stores a task, and waits for its end if asked to.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::fault::Fault;
use super::follow::tell_end;
use super::log::Log;
use super::payload::Payload;
use super::print;
use super::remote::Remote;
use super::task::Task;

/// Store a task in a queue; it is carried out even if every worker is down just now
///
/// Prints the task's id. With --wait it follows the task and prints how it ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, in the checkout, with a fleet that `make fleet` has started:
  workfleet submit thumbnail --field image=@deploy/local/samples/julia.png --field width_px=64 --field height_px=64 --wait
  workfleet submit thumbnail --field image=@deploy/local/samples/dunes.jpg --field width_px=64 --field height_px=64 \\
    --key order-17 --label order:17 --attempts-max 3 --wait=10s
  image=$(base64 -w0 deploy/local/samples/julia.png)
  id=$(printf '{\"image\": \"%s\", \"width_px\": 64, \"height_px\": 64}' \"$image\" |
    workfleet submit thumbnail - --delay 5s)
  workfleet watch \"$id\"")]
pub(crate) struct Submit {
    /// The queue, which is the name of the kind of task
    queue: String,
    #[command(flatten)]
    payload: Payload,
    /// Follow the task until it has ended, or until this time has passed, as in --wait=5s (exit code 4; the task goes on)
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", require_equals = true,
          value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Start no sooner than in this time, as 1500ms, 10s or 5m
    #[arg(long, value_name = "DURATION", conflicts_with = "at")]
    delay: Option<String>,
    /// Start no sooner than at this time (RFC 3339), as 2026-11-23T14:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Expire the task unless it has ended by then: 10m from now, or a time (RFC 3339)
    #[arg(long, value_name = "DURATION|TIME")]
    deadline: Option<String>,
    /// The longest time of one attempt, as 30s; at most the queue's
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// The lane: h, m or l, where the queue has them
    #[arg(long, value_name = "LANE")]
    priority: Option<String>,
    /// Tasks with one ordering key share a bucket
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// How often a handler may be started for it, the first time included
    #[arg(long, value_name = "N")]
    attempts_max: Option<u32>,
    /// A pair of your own that stays with the task, as in --label order:17; may be given again, up to 16 times
    #[arg(long, value_name = "KEY:VALUE")]
    label: Vec<String>,
    /// Idempotency key: the same key gives the same task, so that repeating this command is safe
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Append a line of JSON to this file once the task is accepted, for `workfleet audit`
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Submit {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        self.check_wait()?;
        let payload = self.payload.read()?;
        let client = self.remote.client()?;
        // A file that cannot be written is to be known before anything is accepted.
        let log = self.log.as_deref().map(Log::open).transpose()?;
        let mut request =
            client.request(Method::POST, &["v1", "queues", &self.queue, "tasks"]).query(&self.options()).json(&payload);
        if let Some(key) = &self.key {
            request = request.header("Idempotency-Key", key);
        }
        let response = client.send(request).await.map_err(|fault| self.payload.explain(fault))?;
        let is_repeat = response.headers().contains_key("idempotency-key-repeated");
        let task = Task::read(client.document(response).await?)?;
        if is_repeat {
            self.tell_repeat(&task);
        }
        if let Some(log) = log
            && let Err(fault) = log.append(&task, self.key.clone())
        {
            // Whoever takes it for refused submits it twice; with its id it can be looked for.
            self.tell_stored(&task)?;
            return Err(fault);
        }
        match self.wait {
            None => self.tell_stored(&task),
            Some(wait) => tell_end(&client, &task.fields.id, wait, &self.remote).await,
        }
    }

    /// `--wait 5s` is read as `--wait` with the input `5s`, since the time may be left out.
    fn check_wait(&self) -> Result<(), Fault> {
        match (self.wait, self.payload.as_duration()) {
            (Some(_), Some(time)) => Err(Fault::Usage(format!("{time} would be the input: write --wait={time}"))),
            _ => Ok(()),
        }
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("delay", &self.delay),
            ("at", &self.at),
            ("deadline", &self.deadline),
            ("timeout", &self.timeout),
            ("priority", &self.priority),
            ("ordering_key", &self.ordering_key),
        ];
        let mut options: Vec<_> = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        options.extend(self.attempts_max.map(|n| ("attempts_max", n.to_string())));
        options.extend(self.label.iter().map(|label| ("label", label.clone())));
        options
    }

    /// The id alone, so that a script can take it as it stands.
    fn tell_stored(&self, task: &Task) -> Result<(), Fault> {
        if self.remote.json { print::json(&task.document) } else { print::line(&task.fields.id) }
    }

    /// On the standard error, since nothing is wrong: but a task that has ended, say as cancelled, does not begin again.
    fn tell_repeat(&self, task: &Task) {
        let (id, state) = (&task.fields.id, &task.fields.state);
        let detail = format!("the key was used before: the task {id} exists already, and is {state}");
        let text = match self.remote.json {
            true => json!({ "code": "repeated_key", "detail": detail, "task_id": id }).to_string(),
            false => format!("workfleet: {detail}"),
        };
        // Where it cannot be written, the command is still what was asked for.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::Submit;
    use clap::{Args, Command, FromArgMatches};

    fn check(words: &str) -> Result<(), String> {
        let command = Submit::augment_args(Command::new("submit"));
        let matches = command.get_matches_from(format!("submit thumbnail {words}").split(' '));
        Submit::from_arg_matches(&matches).expect("they fit").check_wait().map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_time_that_lost_its_equals_sign_is_named() {
        assert!(check("--wait 5s --field a=1").expect_err("a time").contains("--wait=5s"));
        for fine in ["--wait=5s", "--wait {}", "--wait", "@5s --wait", "5s"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}
