//! Emptying and removing queues: `workfleet queue purge` and `workfleet queue retire`.
//!
//! What would go is found first, as a [`Removal`] that can be shown to whoever is asked; only then is any of it done.
//! The alternative, one call that asks in the middle, could not be tried without a terminal.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use workfleet_link::broker::Broker;
use workfleet_link::read;
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;

use super::api::Api;
use super::held::{self, Held};
use super::orphans;
use super::wanted::DUPLICATE_WINDOW_NS;
use super::{ProvisionError, write_settings};
use crate::limits::LANE_REMOVAL_WAIT;

/// For so long ids of messages are remembered while those of purged ones are to be forgotten; the last is the shortest
/// that the server takes. Two, since it forgets as soon as the window changes, and may go by the one before that.
const ID_WINDOWS_NS: [i64; 2] = [200_000_000, 100_000_000];
/// How long the server has to forget them, each time.
const ID_WAIT: Duration = Duration::from_millis(500);

/// What goes of a queue that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Tasks that wait, in the queue or for their time.
    Waiting,
    /// Dead letters.
    Dead,
    /// Results with their outputs, and idempotency keys.
    Results,
}

/// What to do about whoever uses the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// Refuse.
    Refused,
    /// Do it all the same: tasks that run record what they can.
    Forced,
}

/// What goes, before it has gone.
#[derive(Debug, Clone, Serialize)]
pub struct Removal {
    /// The queue.
    pub queue: String,
    /// In the order in which they go.
    pub items: Vec<Item>,
    /// How many tasks, letters and records that is.
    pub messages: u64,
    /// Streams that forget the ids of their messages afterwards.
    #[serde(skip)]
    forget: Vec<String>,
    #[serde(skip)]
    kind: Kind,
}

/// One thing that goes.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Its name: `stream TASKS_mail`.
    pub name: String,
    /// What is in it.
    pub holds: String,
    #[serde(skip)]
    act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Purge,
    Retire,
}

#[derive(Debug, Clone)]
enum Act {
    /// What a stream has on the subjects that match.
    Purge { stream: String, filter: Option<String> },
    /// A whole stream, with its consumers.
    Delete { stream: String },
}

/// What a purge would remove.
///
/// # Errors
/// When there is no such queue, tasks run in it, or the broker does not answer.
pub async fn purge(
    broker: &Broker,
    queue: &QueueName,
    parts: &[Part],
    in_use: InUse,
) -> Result<Removal, ProvisionError> {
    let held = look(broker, queue).await?;
    check_rest(queue, &held, in_use)?;
    let names = &broker.names;
    let (tasks, delay) = (names.tasks_stream(queue), names.delay_stream(queue));
    // All of them, whichever part goes: a task that lost its key with its results leaves ids in the queue as well.
    let dead = names.dead_stream(queue);
    let forget = vec![tasks.clone(), delay.clone(), dead.clone()];
    let (mut items, mut messages) = (Vec::new(), 0);
    if parts.contains(&Part::Waiting) {
        messages += held.waiting + held.running + held.delayed;
        // In the order in which copies travel: one that falls due meanwhile is met where it comes to.
        let delayed = format!("{} tasks whose time has not come", held.delayed);
        items.push(item(&format!("what is in {delay}"), delayed, whole(delay)));
        let queued = format!("{} tasks that wait, {} that run", held.waiting, held.running);
        items.push(item(&format!("what is in {tasks}"), queued, whole(tasks)));
    }
    if parts.contains(&Part::Dead) {
        messages += held.dead;
        let letters = format!("{} dead letters", held.dead);
        items.push(item(&format!("what is in {dead}"), letters, whole(dead)));
    }
    if parts.contains(&Part::Results) {
        messages += held.results;
        let (results, outputs) = (names.results_stream(queue), object_store(broker, Store::Out, queue));
        let records = format!("{} results and idempotency keys", held.results);
        items.push(item(&format!("what is in {results}"), records, whole(results)));
        let bytes = format!("{} bytes of outputs", held.output_bytes);
        items.push(item(&format!("what is in {outputs}"), bytes, whole(outputs)));
    }
    Ok(Removal { queue: queue.to_string(), items, messages, forget, kind: Kind::Purge })
}

/// What retiring a queue would remove: all of it, and its contract.
///
/// # Errors
/// When there is no such queue, it is in use, or the broker does not answer.
pub async fn retire(broker: &Broker, queue: &QueueName, in_use: InUse) -> Result<Removal, ProvisionError> {
    let held = look(broker, queue).await?;
    let names = &broker.names;
    if in_use == InUse::Refused && is_used(&held) {
        return Err(refusal(queue, &held));
    }
    let stream = |stream: String, holds: String| item(&format!("stream {stream}"), holds, Act::Delete { stream });
    let record = |name: String, bucket: &str, key: &str| {
        let act = Act::Purge { stream: format!("KV_{bucket}"), filter: Some(format!("$KV.{bucket}.{key}")) };
        item(&name, format!("the record {key} in {bucket}"), act)
    };
    let mut items = vec![
        // First: dispatchers stop taking tasks for a queue without settings.
        record(format!("queue {queue}"), &names.queues_bucket(), queue.as_str()),
        stream(names.tasks_stream(queue), format!("{} tasks that wait, {} that run", held.waiting, held.running)),
        stream(names.delay_stream(queue), format!("{} tasks whose time has not come", held.delayed)),
        stream(names.results_stream(queue), format!("{} results and idempotency keys", held.results)),
        stream(names.events_stream(queue), "what is said about running tasks".to_owned()),
        stream(object_store(broker, Store::In, queue), format!("{} bytes of payloads and uploads", held.input_bytes)),
        stream(object_store(broker, Store::Out, queue), format!("{} bytes of outputs", held.output_bytes)),
        stream(names.dead_stream(queue), format!("{} dead letters", held.dead)),
        record(format!("kind {queue}"), &names.kinds_bucket(), &names.kind_key(queue)),
    ];
    let entries = |entries: u64| stream(names.accepted_stream(queue), format!("{entries} entries of its ledger"));
    items.extend(held.accepted.map(entries));
    // Their ids go with the streams.
    let messages = held.waiting + held.running + held.delayed + held.results + held.dead;
    Ok(Removal { queue: queue.to_string(), items, messages, forget: Vec::new(), kind: Kind::Retire })
}

impl Removal {
    /// Does it. Repeating one that broke off finishes it.
    ///
    /// A purge looks again first, since whoever was asked took their time: if tasks run by then, nothing goes, unless
    /// that is forced.
    ///
    /// A retirement waits some seconds after the first step, until no dispatcher can know the queue any more, and then
    /// looks again: if the queue is in use by then, it is brought back, unless that is forced. If its settings had gone
    /// with an earlier retirement, only provisioning brings it back; what is in it stays.
    ///
    /// # Errors
    /// When the broker refuses or does not answer, or the queue came into use meanwhile.
    pub async fn carry_out(&self, broker: &Broker, in_use: InUse) -> Result<(), ProvisionError> {
        let api = Api::new(broker);
        let Ok(queue) = self.queue.parse::<QueueName>() else { return Ok(()) };
        let mut items = self.items.iter();
        match self.kind {
            Kind::Purge => check_rest(&queue, &look(broker, &queue).await?, in_use)?,
            Kind::Retire => {
                if let Some(settings) = items.next() {
                    close(broker, &queue, settings, in_use).await?;
                }
            }
        }
        for item in items {
            api.remove(&item.name, &item.act).await?;
        }
        if self.kind == Kind::Purge {
            orphans::delete(broker, &queue).await?;
        }
        // Last, so that nothing is left to be remembered anew; all at once, since each takes its time.
        let forgotten = join_all(self.forget.iter().map(|stream| api.forget_ids(stream))).await;
        forgotten.into_iter().collect()
    }
}

/// Takes the settings away, and looks whether anything came in before everybody knew. It waits in any case: if there are
/// none, an earlier retirement may have taken them just now.
async fn close(broker: &Broker, queue: &QueueName, settings: &Item, in_use: InUse) -> Result<(), ProvisionError> {
    let mut api = Api::new(broker);
    let before = read::queue_settings(broker, queue).await;
    let before = before
        .map_err(|error| ProvisionError::Unanswered { name: settings.name.clone(), reason: error.to_string() })?;
    api.remove(&settings.name, &settings.act).await?;
    tracing::info!(%queue, seconds = LANE_REMOVAL_WAIT.as_secs(), "waiting until no dispatcher knows the queue");
    tokio::time::sleep(LANE_REMOVAL_WAIT).await;
    let held = look(broker, queue).await?;
    if in_use == InUse::Refused && is_used(&held) {
        if let Some(before) = before {
            write_settings(&mut api, queue, &before).await?;
        }
        return Err(refusal(queue, &held));
    }
    Ok(())
}

impl Api<'_> {
    async fn remove(&self, name: &str, act: &Act) -> Result<(), ProvisionError> {
        match act {
            Act::Delete { stream } => self.delete(name, &format!("STREAM.DELETE.{stream}")).await,
            Act::Purge { stream, filter } => {
                let question = filter.as_ref().map_or_else(|| json!({}), |filter| json!({ "filter": filter }));
                self.purge(name, stream, &question).await
            }
        }
    }

    /// A purge leaves the ids of what it purged behind: of a task that is submitted again under its idempotency key
    /// within two minutes, the first copy, a retry or the dead letter would be acknowledged as a duplicate and not
    /// stored. They go with the window that they are kept for.
    ///
    /// What is there may be the short window of a purge that was killed, so that is not what comes back.
    async fn forget_ids(&self, stream: &str) -> Result<(), ProvisionError> {
        let name = format!("stream {stream}");
        let Some(config) = self.config(&name, &format!("STREAM.INFO.{stream}")).await? else { return Ok(()) };
        let remember_for = async |window_ns: i64| {
            let mut config = config.clone();
            config.insert("duplicate_window".to_owned(), window_ns.into());
            self.ask(&name, &format!("STREAM.UPDATE.{stream}"), &Value::Object(config)).await
        };
        let mut forgotten = Ok(());
        for window_ns in ID_WINDOWS_NS {
            forgotten = forgotten.and(remember_for(window_ns).await);
            tokio::time::sleep(ID_WAIT).await;
        }
        // Whatever became of those.
        remember_for(DUPLICATE_WINDOW_NS).await.and(forgotten)
    }
}

async fn look(broker: &Broker, queue: &QueueName) -> Result<Held, ProvisionError> {
    match held::held(broker, queue).await? {
        Some(held) => Ok(held),
        None => {
            let known = held::queues(broker).await.unwrap_or_default();
            Err(ProvisionError::UnknownQueue { queue: queue.to_string(), known: known.join(", ") })
        }
    }
}

/// What runs would record its end in the midst of a purge.
fn check_rest(queue: &QueueName, held: &Held, in_use: InUse) -> Result<(), ProvisionError> {
    if in_use == InUse::Refused && held.running > 0 {
        return Err(refusal(queue, &Held { running: held.running, ..Held::default() }));
    }
    Ok(())
}

fn is_used(held: &Held) -> bool {
    held.running + held.waiting + held.delayed + held.workers > 0
}

fn refusal(queue: &QueueName, held: &Held) -> ProvisionError {
    let uses = [
        (held.running, "tasks run"),
        (held.waiting, "tasks wait"),
        (held.delayed, "tasks are scheduled or wait for a retry"),
        (held.workers, "workers are connected"),
    ];
    let uses = uses.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    ProvisionError::QueueInUse { queue: queue.to_string(), uses: uses.collect::<Vec<_>>().join(", ") }
}

fn object_store(broker: &Broker, store: Store, queue: &QueueName) -> String {
    format!("OBJ_{}", broker.names.object_store(store, queue))
}

fn whole(stream: String) -> Act {
    Act::Purge { stream, filter: None }
}

fn item(name: &str, holds: String, act: Act) -> Item {
    Item { name: name.to_owned(), holds, act }
}
