//! Marks of redrives that a purge has left nothing of.
//!
//! Nothing tells which records are marks but the records themselves, so all of them are read, a page at a time, and what a
//! mark stands for is looked for at the leaders. A mark that is overlooked does no harm: who submits its task again goes on
//! with it. To note the marks of what is to be purged beforehand was the alternative; it misses what comes in meanwhile.

use prost::Message as _;
use workfleet_link::batch::{self, Range};
use workfleet_link::broker::Broker;
use workfleet_link::read::{self, ReadError};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::settings;
use workfleet_proto::v1::{self, QueueSettings};

use super::ProvisionError;
use crate::ask;

/// Most records and most bytes that are read at once.
const PAGE_MESSAGES_MAX: usize = 1_024;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Deletes the marks of a queue that have neither a copy nor a letter. A redrive that is under way has its letter.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn delete(broker: &Broker, queue: &QueueName) -> Result<(), ProvisionError> {
    let deleted = delete_all(broker, queue).await.map_err(|error| {
        let name = format!("marks of redrives in {}", broker.names.results_stream(queue));
        ProvisionError::Unanswered { name, reason: error.to_string() }
    })?;
    tracing::debug!(%queue, deleted, "marks of redrives of which nothing else was left are deleted");
    Ok(())
}

async fn delete_all(broker: &Broker, queue: &QueueName) -> Result<u64, ReadError> {
    let settings = read::queue_settings(broker, queue).await?.unwrap_or_default();
    let (stream, results) = (broker.names.results_stream(queue), broker.names.result_all(queue));
    let (mut deleted, mut from) = (0, 1);
    loop {
        let range = Range { from, filter: Some(&results), messages_max: PAGE_MESSAGES_MAX, bytes_max: PAGE_BYTES_MAX };
        let page = match batch::range(broker, &stream, range).await {
            Err(ReadError::NoStream { .. }) => return Ok(deleted),
            page => page?.messages,
        };
        let Some(last) = page.last() else { return Ok(deleted) };
        from = last.sequence + 1;
        for stored in page {
            let Ok(record) = v1::Result::decode(stored.payload) else { continue };
            let Ok(id) = record.id.parse::<TaskId>() else { continue };
            if !record.state().is_end() && !is_backed(broker, &settings, &id).await? {
                ask::delete_message(broker, &stream, stored.sequence).await?;
                deleted += 1;
            }
        }
    }
}

/// Whether the task has a letter or a copy. The letter first: a redrive deletes it when the copy is stored.
async fn is_backed(broker: &Broker, settings: &QueueSettings, id: &TaskId) -> Result<bool, ReadError> {
    let (names, queue) = (&broker.names, id.queue());
    let (delay, tasks) = (names.delay_stream(&queue), names.tasks_stream(&queue));
    let lanes = settings::lanes(settings);
    let mut places = vec![(names.dead_stream(&queue), names.dead(id)), (delay.clone(), names.delay_at(id))];
    places.extend(lanes.iter().map(|lane| (delay.clone(), names.delay_due(id, *lane))));
    places.extend(lanes.iter().map(|lane| (tasks.clone(), names.task(id, *lane))));
    for (stream, subject) in places {
        match read::last_on_subject(broker, &stream, &subject).await {
            Ok(None) | Err(ReadError::NoStream { .. }) => {}
            found => return found.map(|found| found.is_some()),
        }
    }
    Ok(false)
}
