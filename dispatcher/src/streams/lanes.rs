//! Lanes that a queue had and is not to have any more: they go only when nothing can be left behind in them.

use workfleet_link::read::{self, ReadError};
use workfleet_proto::names::Lane;
use workfleet_proto::settings;

use super::api::Api;
use super::{Change, ProvisionError};
use crate::ask;
use crate::queues_file::QueueEntry;

/// The lanes that are to go.
///
/// # Errors
/// When one of them may hold a task.
pub(super) async fn check_removed(api: &Api<'_>, queue: &QueueEntry) -> Result<Vec<Lane>, ProvisionError> {
    let names = &api.broker.names;
    let unanswered = |error: ReadError| ProvisionError::Unanswered {
        name: format!("queue {}", queue.name),
        reason: error.to_string(),
    };
    let before = read::queue_settings(api.broker, &queue.name).await.map_err(unanswered)?;
    let wanted = settings::lanes(&queue.settings);
    let had = before.map(|before| settings::lanes(&before)).unwrap_or_default();
    let gone: Vec<Lane> = had.into_iter().filter(|lane| !wanted.contains(lane)).collect();
    for lane in &gone {
        let tasks = names.tasks_stream(&queue.name);
        let held = match ask::consumer(api.broker, &tasks, &names.work_consumer(*lane)).await {
            Ok(state) => state.num_pending + state.num_ack_pending,
            Err(ReadError::NoStream { .. }) => 0,
            Err(error) => return Err(unanswered(error)),
        };
        // A schedule's subject does not name its lane, so any of them may be for this one.
        let delayed = ask::stream(api.broker, &names.delay_stream(&queue.name)).await.map_err(unanswered)?.messages;
        if held + delayed > 0 {
            let (queue, lane) = (queue.name.to_string(), lane.to_string());
            return Err(ProvisionError::LaneInUse { queue, lane, tasks: held, delayed });
        }
    }
    Ok(gone)
}

/// Removes the consumers of lanes that are gone.
///
/// # Errors
/// When the broker refuses or does not answer.
pub(super) async fn remove(api: &mut Api<'_>, queue: &QueueEntry, gone: &[Lane]) -> Result<(), ProvisionError> {
    for lane in gone {
        let stream = api.broker.names.tasks_stream(&queue.name);
        let consumer = api.broker.names.work_consumer(*lane);
        let name = format!("consumer {stream}/{consumer}");
        api.delete(&name, &format!("CONSUMER.DELETE.{stream}.{consumer}")).await?;
        api.note(name, Change::Removed, String::new());
    }
    Ok(())
}
