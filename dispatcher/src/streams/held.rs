//! What a queue holds, and who uses it: what is to be known before any of it goes.

use workfleet_link::broker::Broker;
use workfleet_link::read::{self, ReadError};
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;

use super::ProvisionError;
use crate::ask;
use crate::limits::{QUEUES_LISTED_MAX, WORKERS_LISTED_MAX};

/// Counts of a queue. What is not there counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Tasks that a worker holds.
    pub(super) running: u64,
    /// Tasks in the queue that none holds.
    pub(super) waiting: u64,
    /// Tasks and retries whose time has not come, or that are on their way into the queue.
    pub(super) delayed: u64,
    /// Results and idempotency keys.
    pub(super) results: u64,
    pub(super) dead: u64,
    pub(super) workers: u64,
    /// Bytes of payloads and uploads.
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
    /// Entries of its ledger; nothing where it has none.
    pub(super) accepted: Option<u64>,
}

/// Looks. `None`: there is no such queue, and nothing is left of one.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn held(broker: &Broker, queue: &QueueName) -> Result<Option<Held>, ProvisionError> {
    look(broker, queue).await.map_err(|error| unanswered(queue, &error))
}

/// The names of all queues, for an error that says which there are.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn queues(broker: &Broker) -> Result<Vec<String>, ReadError> {
    let bucket = broker.names.queues_bucket();
    let prefix = format!("$KV.{bucket}.");
    let keys = ask::subjects(broker, &format!("KV_{bucket}"), &format!("{prefix}>"), QUEUES_LISTED_MAX).await?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(ToOwned::to_owned).collect())
}

async fn look(broker: &Broker, queue: &QueueName) -> Result<Option<Held>, ReadError> {
    let names = &broker.names;
    let tasks = names.tasks_stream(queue);
    let outputs = format!("OBJ_{}", names.object_store(Store::Out, queue));
    let inputs = format!("OBJ_{}", names.object_store(Store::In, queue));
    let mut is_there = read::queue_settings(broker, queue).await?.is_some();
    let accepted = there(ask::stream(broker, &names.accepted_stream(queue)).await)?.map(|state| state.messages);
    is_there |= accepted.is_some();
    let mut stream = async |name: &str| -> Result<(u64, u64), ReadError> {
        let state = there(ask::stream(broker, name).await)?;
        is_there |= state.is_some();
        Ok(state.map_or((0, 0), |state| (state.messages, state.bytes)))
    };
    // In the direction in which tasks move, so that one which is carried meanwhile is met in the queue. Timers of tasks that
    // have ended are no tasks.
    let timers = there(ask::deadlines(broker, queue).await)?.unwrap_or(0);
    let delayed = stream(&names.delay_stream(queue)).await?.0.saturating_sub(timers);
    let queued = stream(&tasks).await?.0;
    let results = stream(&names.results_stream(queue)).await?.0;
    // A removal that broke off may have left any of them.
    stream(&names.events_stream(queue)).await?;
    let dead = stream(&names.dead_stream(queue)).await?.0;
    let (input_bytes, output_bytes) = (stream(&inputs).await?.1, stream(&outputs).await?.1);
    let mut running = 0;
    for consumer in there(ask::consumers(broker, &tasks).await)?.unwrap_or_default() {
        running += there(ask::consumer(broker, &tasks, &consumer).await)?.map_or(0, |state| state.num_ack_pending);
    }
    let held = Held {
        running,
        waiting: queued.saturating_sub(running),
        delayed,
        results,
        dead,
        workers: workers(broker, queue).await?,
        input_bytes,
        output_bytes,
        accepted,
    };
    Ok(is_there.then_some(held))
}

/// Live worker processes. A record that was deleted leaves a mark for a while.
async fn workers(broker: &Broker, queue: &QueueName) -> Result<u64, ReadError> {
    let bucket = broker.names.workers_bucket();
    let prefix = format!("$KV.{bucket}.");
    let filter = format!("{prefix}{queue}.>");
    let keys = there(ask::subjects(broker, &format!("KV_{bucket}"), &filter, WORKERS_LISTED_MAX).await)?;
    let mut live = 0;
    for key in keys.iter().flatten().filter_map(|key| key.strip_prefix(&prefix)) {
        live += u64::from(read::key_value(broker, &bucket, key).await?.is_some());
    }
    Ok(live)
}

fn there<T>(answer: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match answer {
        Err(ReadError::NoStream { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

fn unanswered(queue: &QueueName, error: &ReadError) -> ProvisionError {
    ProvisionError::Unanswered { name: format!("queue {queue}"), reason: error.to_string() }
}
