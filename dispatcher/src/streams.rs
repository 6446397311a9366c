//! Creates what JetStream has to hold: streams, consumers, buckets, and removes it. The only place that does; everybody
//! else binds.
//!
//! Everything is asked for as the JSON that JetStream itself takes. What is there is compared with what is wanted, so
//! that a repeat changes nothing and says so; a setting that nobody here knows stays as the operator made it. The
//! client's own types would lose such settings at every update.

mod alert;
mod api;
mod expected;
mod held;
mod lanes;
mod loss;
mod orphans;
mod removal;
mod shared_dead;
mod sourced;
mod wanted;

pub(crate) use expected::{Expected, expected};
pub use removal::{InUse, Item, Part, Removal, purge, retire};

use prost::Message as _;
use serde::Serialize;
use workfleet_link::broker::Broker;
use workfleet_link::read::ReadError;
use workfleet_link::{kinds, read};
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::QueueSettings;

use crate::ask;
use crate::limits::QUEUES_LISTED_MAX;
use crate::queues_file::{QueueEntry, QueuesFile};
use api::Api;

/// Creates or changes everything that `file` asks for. Doing it again changes nothing; queues that the file does not
/// name stay as they are.
///
/// # Errors
/// When the broker cannot be reached, or refuses a change.
pub async fn provision(broker: &Broker, file: &QueuesFile) -> Result<Report, ProvisionError> {
    provision_with(broker, file, Losses::Refused).await
}

/// The same, where the operator says what is to happen to what new limits leave no room for.
///
/// # Errors
/// When the broker cannot be reached, or refuses a change, or a change would lose something and that is not wanted.
pub async fn provision_with(broker: &Broker, file: &QueuesFile, losses: Losses) -> Result<Report, ProvisionError> {
    let mut api = Api::new(broker);
    loss::check(&api, file, losses).await?;
    let replicas = file.queues.iter().map(|queue| queue.settings.replicas).max().unwrap_or(1);
    // Another file's queues share these, and may need more.
    let replicas = replicas.max(api.replicas(&format!("KV_{}", broker.names.queues_bucket())).await?);
    for stream in wanted::shared(&broker.names, replicas) {
        api.stream(stream).await?;
    }
    alert::check(&api, file).await?;
    let shared_dead = shared_dead::detach(&api, file).await?;
    let mut alerts = Vec::new();
    // What is refused is refused before the first queue is changed.
    let mut removals = Vec::new();
    for queue in &file.queues {
        removals.push(lanes::plan(&api, queue).await?);
    }
    for (queue, removal) in file.queues.iter().zip(removals) {
        for step in wanted::queue(&broker.names, &queue.name, &removal.meanwhile) {
            match step {
                wanted::Step::Stream(config) => api.stream(config).await?,
                wanted::Step::Consumer { stream, config } if alert::is_alert(&broker.names, &config) => {
                    alerts.push((stream, config));
                }
                wanted::Step::Consumer { stream, config } => {
                    if sourced::takes_its_place(&broker.names, &config) {
                        sourced::detach(&mut api, &queue.name).await?;
                    }
                    api.consumer(&stream, config).await?;
                }
            }
        }
        alert::remove_unwanted(&mut api, queue).await?;
        register_kind(&mut api, queue).await?;
        // Last: a queue is there once its settings are, and then all of it is.
        write_settings(&mut api, &queue.name, &queue.settings).await?;
        lanes::remove(&mut api, queue, &removal).await?;
    }
    if let Some(shared) = shared_dead {
        shared.carry(&mut api, file).await?;
    }
    // Behind the letters of before, of which nobody is to be told anew.
    for (stream, config) in alerts {
        api.consumer(&stream, config).await?;
    }
    Ok(api.report)
}

/// Makes the streams of events again that are gone: they are in memory, and that of a single server ends with it.
/// Gives their names.
///
/// # Errors
/// When the broker does not answer, or refuses.
pub async fn restore_events(broker: &Broker) -> Result<Vec<String>, ProvisionError> {
    let bucket = broker.names.queues_bucket();
    let prefix = format!("$KV.{bucket}.");
    let unanswered = |error: ReadError| ProvisionError::Unanswered { name: bucket.clone(), reason: error.to_string() };
    let keys = match ask::subjects(broker, &format!("KV_{bucket}"), &format!("{prefix}>"), QUEUES_LISTED_MAX).await {
        // Nothing is provisioned yet, so nothing is gone.
        Err(ReadError::NoStream { .. }) => return Ok(Vec::new()),
        keys => keys.map_err(unanswered)?,
    };
    let (mut api, mut restored) = (Api::new(broker), Ok(()));
    for queue in keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse::<QueueName>().ok()) {
        if let Some(settings) = read::queue_settings(broker, &queue).await.map_err(unanswered)? {
            // One that we may not make, as of a queue that is no longer in the file, must not cost the others theirs.
            restored = restored.and(api.stream(wanted::events_stream(&broker.names, &queue, &settings)).await);
        }
    }
    restored?;
    let made = api.report.lines.into_iter().filter(|line| line.change == Change::Created);
    Ok(made.map(|line| line.name).collect())
}

/// What becomes of results and blobs that new limits leave no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losses {
    /// Nothing is changed then.
    Refused,
    /// The broker drops them, oldest first.
    Allowed,
}

/// What `provision` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One line for each stream, consumer, bucket, kind and queue.
    pub lines: Vec<ReportLine>,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportLine {
    /// Its name: `stream TASKS_mail`.
    pub name: String,
    /// What was done.
    pub change: Change,
    /// What it is like now, or what changed.
    pub settings: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was different.
    Updated,
    /// It was right.
    Unchanged,
    /// It is no longer wanted.
    Removed,
}

/// Why the queues are not as the file says.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The broker refuses.
    #[error("{name}: the broker refuses: {reason}")]
    Refused {
        /// What was to be created or changed.
        name: String,
        /// What the broker says.
        reason: String,
    },
    /// The sizes of all streams together are more than the broker may store.
    #[error(
        "{name}: the broker has no room for it: streams reserve their full size. Lower tasks_bytes_max, \
         results_bytes_max or blobs_bytes_max in the queues file, free the disk, or let the server store more \
         (max_file_store)"
    )]
    NoRoom {
        /// What was to be created or changed.
        name: String,
    },
    /// The broker does not answer.
    #[error("{name}: the broker does not answer: {reason}; does it run with JetStream (nats-server -js)?")]
    Unanswered {
        /// What was to be created or changed.
        name: String,
        /// What happened instead.
        reason: String,
    },
    /// A lane that is to go still holds tasks, which nobody would ever take again.
    #[error(
        "queue {queue}: the lane {lane} is to go, but tasks may wait in it ({tasks} in the queue, {delayed} delayed in \
         any lane); drain them first"
    )]
    LaneInUse {
        /// The queue.
        queue: String,
        /// The lane.
        lane: String,
        /// Tasks in the lane.
        tasks: u64,
        /// Delayed tasks of the queue, which may be for this lane.
        delayed: u64,
    },
    /// A lower limit would make the broker drop what is stored. Nothing was changed.
    #[error(
        "{name}: the new limits would drop what is stored: {what}. Nothing was changed. Wait until it is gone, keep \
         retention, results_bytes_max, dead_bytes_max and blobs_age, or say --allow-loss"
    )]
    WouldDrop {
        /// What was to be changed.
        name: String,
        /// What it holds, and what it would be allowed to.
        what: String,
    },
    /// There is no such queue.
    #[error("there is no queue {queue:?}; there is: {known}")]
    UnknownQueue {
        /// What was asked for.
        queue: String,
        /// Those there are.
        known: String,
    },
    /// The queue is in use.
    #[error("the queue {queue} is in use: {uses}; --force does it all the same")]
    QueueInUse {
        /// The queue.
        queue: String,
        /// Who uses it.
        uses: String,
    },
    /// The alert of a queue's dead letters could never be sent.
    #[error("queue {queue}: dead_alert: {reason}")]
    Alert {
        /// The queue whose alert it is.
        queue: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kind cannot be registered.
    #[error("kind {name}: {source}")]
    Kind {
        /// The kind.
        name: String,
        /// Why.
        source: kinds::KindError,
    },
}

async fn register_kind(api: &mut Api<'_>, queue: &QueueEntry) -> Result<(), ProvisionError> {
    let Some(kind) = &queue.kind else { return Ok(()) };
    let failed = |source| ProvisionError::Kind { name: queue.name.to_string(), source };
    let before = kinds::record(api.broker, &queue.name).await.map_err(failed)?;
    let hash = kinds::register(api.broker, &queue.name, &kind.service, &kind.descriptors).await.map_err(failed)?;
    let change = match before {
        None => Change::Created,
        Some(before) if before.schema == hash.as_str() => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    api.note(format!("kind {}", queue.name), change, format!("{} {}", kind.service, hash.as_str()));
    Ok(())
}

async fn write_settings(api: &mut Api<'_>, queue: &QueueName, settings: &QueueSettings) -> Result<(), ProvisionError> {
    let name = format!("queue {queue}");
    let unanswered = |reason: String| ProvisionError::Unanswered { name: name.clone(), reason };
    let bucket = api.broker.names.queues_bucket();
    let record = settings.encode_to_vec();
    let before = read::key_value(api.broker, &bucket, queue.as_str()).await;
    let before = before.map_err(|error| unanswered(error.to_string()))?;
    let change = match before {
        Some(before) if before.payload == record => Change::Unchanged,
        Some(_) => Change::Updated,
        None => Change::Created,
    };
    if change != Change::Unchanged {
        let store = api.broker.jetstream.get_key_value(&bucket).await.map_err(|error| unanswered(error.to_string()))?;
        store.put(queue.as_str(), record.into()).await.map_err(|error| unanswered(error.to_string()))?;
    }
    let summary = format!(
        "lanes={} attempts_max={} lease={}ms tasks_max={}",
        settings.lanes.join(""),
        settings.attempts_max,
        settings.lease_ms,
        settings.tasks_max
    );
    api.note(name, change, summary);
    Ok(())
}
