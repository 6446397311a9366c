//! What is there, compared with what is wanted.

use std::time::Duration;

use async_nats::jetstream::response::Response;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use workfleet_link::broker::Broker;

use crate::ask;

use super::{Change, ProvisionError, Report, ReportLine};

/// Asks, and notes what was done.
pub(super) struct Api<'a> {
    pub(super) broker: &'a Broker,
    pub(super) report: Report,
}

pub(super) type Config = Map<String, Value>;

/// What the server takes only when it makes a consumer. Deleting one to make it anew would forget how often its tasks
/// were delivered, so it keeps what it has.
pub(super) const FIXED: [&str; 1] = ["max_waiting"];
const NOT_FOUND: usize = 404;
/// The server, or the account, may not store so much: 10047, 10023, 10028 and 10002.
const NO_ROOM: [u64; 4] = [10_047, 10_023, 10_028, 10_002];
/// Too few servers are there for so many replicas: 10005.
const NO_PEERS: u64 = 10_005;
const PEERS_WAIT_MAX: Duration = Duration::from_secs(10);
const PEERS_PAUSE: Duration = Duration::from_millis(250);

impl<'a> Api<'a> {
    pub(super) fn new(broker: &'a Broker) -> Self {
        Self { broker, report: Report::default() }
    }

    pub(super) fn note(&mut self, name: String, change: Change, settings: String) {
        self.report.lines.push(ReportLine { name, change, settings });
    }

    /// Creates a stream, or changes it where it differs.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub(super) async fn stream(&mut self, wanted: Config) -> Result<(), ProvisionError> {
        let stream = text(&wanted, "name");
        let name = format!("stream {stream}");
        let there = self.config(&name, &format!("STREAM.INFO.{stream}")).await?;
        let (change, summary) = match there {
            None => {
                self.ask(&name, &format!("STREAM.CREATE.{stream}"), &Value::Object(wanted.clone())).await?;
                (Change::Created, summary(&wanted))
            }
            Some(there) => match differences(&there, &wanted) {
                changes if changes.is_empty() => (Change::Unchanged, summary(&wanted)),
                changes => {
                    let merged = Value::Object(merged(there, wanted));
                    self.ask(&name, &format!("STREAM.UPDATE.{stream}"), &merged).await?;
                    (Change::Updated, changes.join(" "))
                }
            },
        };
        self.note(name, change, summary);
        Ok(())
    }

    /// Creates a durable consumer, or changes it where it differs.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub(super) async fn consumer(&mut self, stream: &str, mut wanted: Config) -> Result<(), ProvisionError> {
        let consumer = text(&wanted, "durable_name");
        let name = format!("consumer {stream}/{consumer}");
        let there = self.config(&name, &format!("CONSUMER.INFO.{stream}.{consumer}")).await?;
        if there.is_some() {
            wanted.retain(|key, _| !FIXED.contains(&key.as_str()));
        }
        let changes = there.as_ref().map(|there| differences(there, &wanted));
        let (change, summary) = match changes {
            Some(changes) if changes.is_empty() => (Change::Unchanged, summary(&wanted)),
            Some(changes) => (Change::Updated, changes.join(" ")),
            None => (Change::Created, summary(&wanted)),
        };
        if change != Change::Unchanged {
            let config = Value::Object(merged(there.unwrap_or_default(), wanted));
            let question = json!({ "stream_name": stream, "config": config });
            self.ask(&name, &format!("CONSUMER.DURABLE.CREATE.{stream}.{consumer}"), &question).await?;
        }
        self.note(name, change, summary);
        Ok(())
    }

    /// How many replicas a stream has; 0 where there is none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(super) async fn replicas(&self, stream: &str) -> Result<u32, ProvisionError> {
        let config = self.config(&format!("stream {stream}"), &format!("STREAM.INFO.{stream}")).await?;
        let replicas = config.and_then(|config| config.get("num_replicas")?.as_u64());
        Ok(replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(0))
    }

    /// Deletes something; what is gone already is fine.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub(super) async fn delete(&self, name: &str, subject: &str) -> Result<(), ProvisionError> {
        match ask::api::<(), Value>(self.broker, subject.to_owned(), None).await.map_err(|e| unanswered(name, &e))? {
            Response::Err { error } if error.code() != NOT_FOUND => Err(refused(name, &error)),
            Response::Ok(_) | Response::Err { .. } => Ok(()),
        }
    }

    /// Purges what a stream holds; a stream that is gone already is fine.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub(super) async fn purge(&self, name: &str, stream: &str, question: &Value) -> Result<(), ProvisionError> {
        let answer = ask::api::<_, Value>(self.broker, format!("STREAM.PURGE.{stream}"), Some(question)).await;
        match answer.map_err(|error| unanswered(name, &error))? {
            Response::Err { error } if error.code() != NOT_FOUND => Err(refused(name, &error)),
            Response::Ok(_) | Response::Err { .. } => Ok(()),
        }
    }

    /// The configuration of what is there.
    pub(super) async fn config(&self, name: &str, subject: &str) -> Result<Option<Config>, ProvisionError> {
        let answer = ask::api::<(), Value>(self.broker, subject.to_owned(), None).await;
        match answer.map_err(|error| unanswered(name, &error))? {
            Response::Ok(info) => Ok(info.get("config").and_then(Value::as_object).cloned()),
            Response::Err { error } if error.code() == NOT_FOUND => Ok(None),
            Response::Err { error } => Err(refused(name, &error)),
        }
    }

    /// Asks for a change. Servers that have only just started, or started again, may not know each other yet: that is waited
    /// for.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub(super) async fn ask(&self, name: &str, subject: &str, question: &Value) -> Result<(), ProvisionError> {
        let until = Instant::now() + PEERS_WAIT_MAX;
        loop {
            match self.ask_once(name, subject, question).await? {
                Response::Err { error } if error.error_code().0 == NO_PEERS && Instant::now() < until => {
                    tokio::time::sleep(PEERS_PAUSE).await;
                }
                answer => return changed(name, answer),
            }
        }
    }

    async fn ask_once(&self, name: &str, subject: &str, question: &Value) -> Result<Response<Value>, ProvisionError> {
        let answer = ask::api::<_, Value>(self.broker, subject.to_owned(), Some(question)).await;
        answer.map_err(|error| unanswered(name, &error))
    }
}

fn changed(name: &str, answer: Response<Value>) -> Result<(), ProvisionError> {
    match answer {
        Response::Ok(_) => Ok(()),
        Response::Err { error } if NO_ROOM.contains(&error.error_code().0) => {
            Err(ProvisionError::NoRoom { name: name.to_owned() })
        }
        Response::Err { error } => Err(refused(name, &error)),
    }
}

fn refused(name: &str, error: &impl ToString) -> ProvisionError {
    ProvisionError::Refused { name: name.to_owned(), reason: error.to_string() }
}

fn unanswered(name: &str, error: &impl ToString) -> ProvisionError {
    ProvisionError::Unanswered { name: name.to_owned(), reason: error.to_string() }
}

pub(super) fn text(config: &Config, key: &str) -> String {
    config.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What is wanted over what is there; what nobody here names stays.
fn merged(mut there: Config, wanted: Config) -> Config {
    there.extend(wanted);
    there
}

pub(super) fn differences(there: &Config, wanted: &Config) -> Vec<String> {
    let differ = wanted.iter().filter(|(key, value)| !is_met(there.get(*key), value));
    differ.map(|(key, value)| format!("{key}={value}")).collect()
}

/// Whether what is there has everything that is wanted. JetStream leaves out what is empty, false or nothing.
fn is_met(there: Option<&Value>, wanted: &Value) -> bool {
    match (there, wanted) {
        (None, wanted) => matches!(wanted, Value::Bool(false) | Value::Null) || *wanted == 0,
        (Some(Value::Object(there)), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| is_met(there.get(key), value))
        }
        (Some(Value::Array(there)), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| is_met(Some(there), wanted))
        }
        (Some(there), wanted) => there == wanted,
    }
}

fn summary(config: &Config) -> String {
    const SHOWN: [&str; 8] = [
        "subjects",
        "filter_subject",
        "retention",
        "storage",
        "max_msgs",
        "max_bytes",
        "max_ack_pending",
        "num_replicas",
    ];
    let shown = SHOWN.iter().filter_map(|key| config.get(*key).map(|value| (key, value)));
    let words: Vec<String> = shown.map(|(key, value)| format!("{key}={value}").replace('"', "")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Config, differences, merged};
    use serde_json::json;

    fn config(value: &serde_json::Value) -> Config {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn what_is_wanted_and_there_is_no_difference() {
        let there = config(&json!({"name": "A", "max_msgs": 5, "sources": [{"name": "B", "more": 1}], "extra": true}));
        let wanted = config(&json!({"name": "A", "max_msgs": 5, "sources": [{"name": "B"}], "deny": false, "age": 0}));
        assert_eq!(differences(&there, &wanted), Vec::<String>::new());
    }

    #[test]
    fn what_differs_is_named_and_what_nobody_knows_is_kept() {
        let there = config(&json!({"max_msgs": 5, "extra": true}));
        let wanted = config(&json!({"max_msgs": 6}));
        assert_eq!(differences(&there, &wanted), ["max_msgs=6"]);
        assert_eq!(merged(there, wanted), config(&json!({"max_msgs": 6, "extra": true})));
    }
}
