//! The operators' log: who cancelled, redrove, dropped, purged or retired what, from where and why.
//!
//! Each operation is a structured line at once, and a message in `OPERATIONS` a little later: from a bounded buffer, by
//! one task in the background. To store it before the answer was the alternative; then a broker that is full or away
//! would keep an operator from the very cancel that mends it. What the buffer has no room for is counted, and stands in
//! the log of the process all the same.

mod filter;
mod list;
mod record;

pub(crate) use filter::{reason, words};
pub use list::{ListOperations, OperationList, OperationView};

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::metrics::Counter;
use tokio::sync::{mpsc, watch};
use workfleet_link::broker::Broker;
use workfleet_link::pipeline::{Pipeline, Publish, PublishError};
use workfleet_link::time::now_ms;
use workfleet_proto::id::{QueueName, TaskId};

use record::{Record, clip};

/// Operations that wait for the broker; the next one is dropped from `OPERATIONS`.
pub const OPERATIONS_WAITING_MAX: usize = 1_024;
/// How often one is published before it is dropped.
const TRIES_MAX: u32 = 5;
/// Pause between two of these.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for what is still in the buffer.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest name of a caller, and longest origin, in characters.
const CALLER_CHARS_MAX: usize = 256;
/// Longest filter, in characters.
const FILTER_CHARS_MAX: usize = 512;
/// Of many tasks, so many are named: enough to look at some, and not so many that one call fills the log.
pub const OPERATION_IDS_MAX: usize = 20;
/// Who calls where there is no authentication.
const ANONYMOUS: &str = "anonymous";

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// One task was cancelled.
    Cancel,
    /// Many tasks were.
    CancelMany,
    /// A dead letter was given another run.
    Redrive,
    /// Many were.
    RedriveMany,
    /// A dead letter was dropped.
    Drop,
    /// Many were.
    DropMany,
    /// A queue was emptied.
    Purge,
    /// A queue was removed.
    Retire,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Cancel,
        Self::CancelMany,
        Self::Redrive,
        Self::RedriveMany,
        Self::Drop,
        Self::DropMany,
        Self::Purge,
        Self::Retire,
    ];

    /// Its word, in the log and on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::CancelMany => "cancel_many",
            Self::Redrive => "redrive",
            Self::RedriveMany => "redrive_many",
            Self::Drop => "drop",
            Self::DropMany => "drop_many",
            Self::Purge => "purge",
            Self::Retire => "retire",
        }
    }
}

/// Who asked for an operation. Both come from callers: they are of bounded length and without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    who: String,
    from: String,
}

impl Caller {
    /// `who` is the name of a token, a JWT's subject, or `user@host`; `from` an address, or `cli`.
    #[must_use]
    pub fn new(who: &str, from: &str) -> Self {
        Self { who: clip(who, CALLER_CHARS_MAX), from: clip(from, CALLER_CHARS_MAX) }
    }

    /// A caller of one of the ports. The address is that of the connection: no header is believed.
    pub(crate) fn of_port(grant: &crate::auth::Grant, peer: Option<IpAddr>) -> Self {
        let who = if grant.name == crate::auth::ANYBODY { ANONYMOUS } else { &grant.name };
        Self::new(who, &peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_canonical().to_string()))
    }
}

/// Something to note.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What was done.
    pub action: Action,
    /// In which queue.
    pub queue: QueueName,
    /// To which task, where it was one.
    pub task: Option<TaskId>,
    /// How many tasks were chosen, in one line; empty where they were named.
    pub filter: String,
    /// Of many tasks, those that it came to; the first [`OPERATION_IDS_MAX`] are noted.
    pub ids: Vec<TaskId>,
    /// How many it came to.
    pub count: u64,
    /// Who asked for it.
    pub caller: Caller,
    /// Why, in the caller's words; may be empty.
    pub reason: String,
}

/// The way into the log.
pub(crate) struct Operations {
    broker: Broker,
    sender: mpsc::Sender<Publish>,
    /// How many wait or are under way.
    waiting: Arc<watch::Sender<usize>>,
    dropped: Dropped,
}

/// Counts what is not in `OPERATIONS`, and says so once.
#[derive(Clone)]
struct Dropped {
    counter: Counter<u64>,
    told: Arc<AtomicBool>,
}

impl Dropped {
    fn count(&self, reason: &str) {
        self.counter.add(1, &[]);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "operations are missing in OPERATIONS; they stand in this log alone");
        }
    }
}

impl Operations {
    /// To be called inside a tokio runtime.
    pub(crate) fn new(broker: Broker) -> Self {
        let (sender, receiver) = mpsc::channel(OPERATIONS_WAITING_MAX);
        let waiting = Arc::new(watch::Sender::new(0));
        let meter = global::meter("workfleet");
        let counter = meter.u64_counter("workfleet.operation.dropped").with_unit("{operation}").build();
        let dropped = Dropped { counter, told: Arc::default() };
        tokio::spawn(publish(broker.clone(), receiver, Arc::clone(&waiting), dropped.clone()));
        Self { broker, sender, waiting, dropped }
    }

    /// Notes an operation. Neither fails nor waits.
    pub(crate) fn note(&self, operation: Operation) {
        let record = Record::new(operation, now_ms());
        tell(&record);
        self.waiting.send_modify(|waiting| *waiting += 1);
        if self.sender.try_send(message(&self.broker, &record)).is_err() {
            self.waiting.send_modify(|waiting| *waiting -= 1);
            self.dropped.count("too many wait for the broker");
        }
    }

    /// Waits until all is published that was noted, or for as long as the end of a process may take.
    pub(crate) async fn flush(&self) {
        let mut waiting = self.waiting.subscribe();
        let flushed = tokio::time::timeout(FLUSH_TIMEOUT, waiting.wait_for(|waiting| *waiting == 0)).await;
        if flushed.is_err() {
            tracing::warn!(operations = *self.waiting.borrow(), "operations are not in OPERATIONS: the time was over");
        }
    }
}

/// Notes an operation of a command that works at the broker itself, which ends right after it.
///
/// # Errors
/// When it may not have been stored; what was done stays done.
pub async fn record(broker: &Broker, operation: Operation) -> Result<(), PublishError> {
    let record = Record::new(operation, now_ms());
    tell(&record);
    Pipeline::start(broker).publish(message(broker, &record)).await.map(|_| ())
}

fn tell(record: &Record) {
    tracing::info!(
        target: "workfleet::operation",
        action = record.action,
        queue = record.queue,
        task = record.task_id,
        filter = record.filter,
        tasks = record.ids.join(" "),
        count = record.count,
        who = record.who,
        from = record.from,
        reason = record.reason,
        "an operation"
    );
}

/// With an id of its own, so that a repeat after a lost acknowledgement is not a second operation.
fn message(broker: &Broker, record: &Record) -> Publish {
    let subject = broker.names.operation(&record.queue_name);
    let mut message = Publish::new(subject, record.bytes());
    message.message_id = Some(format!("{:032x}", rand::random::<u128>()));
    message
}

async fn publish(
    broker: Broker,
    mut receiver: mpsc::Receiver<Publish>,
    waiting: Arc<watch::Sender<usize>>,
    dropped: Dropped,
) {
    let pipeline = Pipeline::start(&broker);
    while let Some(message) = receiver.recv().await {
        if let Err(error) = try_publish(&pipeline, message).await {
            dropped.count(&error.to_string());
        }
        waiting.send_modify(|waiting| *waiting -= 1);
    }
}

async fn try_publish(pipeline: &Pipeline, message: Publish) -> Result<(), PublishError> {
    for _ in 1..TRIES_MAX {
        if pipeline.publish(message.clone()).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    pipeline.publish(message).await.map(|_| ())
}
