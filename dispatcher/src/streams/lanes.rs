//! Lanes that a queue had and is not to have any more: they go only when nothing can be left behind in them.
//!
//! Dispatchers submit by settings that they read a moment ago. So the settings go first, then everybody is given time
//! to read them, and only what is in the lane then counts. Asking once beforehand, which alone would be quick, misses
//! whatever is submitted between the answer and the end of the lane; it is done too, as the early and cheap refusal.

use std::collections::BTreeSet;

use workfleet_link::read::{self, ReadError};
use workfleet_proto::names::Lane;
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

use super::api::Api;
use super::{Change, ProvisionError, write_settings};
use crate::ask;
use crate::limits::LANE_REMOVAL_WAIT;
use crate::queues_file::QueueEntry;

/// What has to go, and what the queue is like until it has gone.
pub(super) struct Removal {
    gone: Vec<Lane>,
    /// As they are wanted, with the lanes that are to go beside the others.
    pub(super) meanwhile: QueueSettings,
}

/// The lanes that are to go.
///
/// # Errors
/// When one of them may hold a task.
pub(super) async fn plan(api: &Api<'_>, queue: &QueueEntry) -> Result<Removal, ProvisionError> {
    let before = read::queue_settings(api.broker, &queue.name).await.map_err(|error| unanswered(queue, &error))?;
    let had = before.map(|before| settings::lanes(&before)).unwrap_or_default();
    let wanted = settings::lanes(&queue.settings);
    // A removal that broke off after the settings has left only the consumer.
    let left = lanes_of_consumers(api, queue).await?;
    // In the old order, since the order says which is more urgent.
    let mut all: Vec<Lane> = Vec::new();
    for lane in had.into_iter().chain(left).chain(wanted.clone()) {
        if !all.contains(&lane) {
            all.push(lane);
        }
    }
    let gone: Vec<Lane> = all.iter().copied().filter(|lane| !wanted.contains(lane)).collect();
    check(api, queue, &gone).await?;
    let lanes = if gone.is_empty() { wanted } else { all };
    let meanwhile = QueueSettings { lanes: lanes.iter().map(ToString::to_string).collect(), ..queue.settings.clone() };
    Ok(Removal { gone, meanwhile })
}

/// Removes the consumers of lanes that are gone, once nobody can submit to them any more. The settings are written.
///
/// # Errors
/// When a task came into one of them meanwhile: then the lanes are back in the settings. When the broker refuses or
/// does not answer.
pub(super) async fn remove(api: &mut Api<'_>, queue: &QueueEntry, removal: &Removal) -> Result<(), ProvisionError> {
    if removal.gone.is_empty() {
        return Ok(());
    }
    let seconds = LANE_REMOVAL_WAIT.as_secs();
    tracing::info!(queue = %queue.name, seconds, "waiting until nobody submits to the lanes that go");
    tokio::time::sleep(LANE_REMOVAL_WAIT).await;
    if let Err(error) = check(api, queue, &removal.gone).await {
        write_settings(api, &queue.name, &removal.meanwhile).await?;
        return Err(error);
    }
    for lane in &removal.gone {
        let stream = api.broker.names.tasks_stream(&queue.name);
        let consumer = api.broker.names.work_consumer(*lane);
        let name = format!("consumer {stream}/{consumer}");
        api.delete(&name, &format!("CONSUMER.DELETE.{stream}.{consumer}")).await?;
        api.note(name, Change::Removed, String::new());
    }
    Ok(())
}

/// Refuses while one of `lanes` may hold a task.
async fn check(api: &Api<'_>, queue: &QueueEntry, lanes: &[Lane]) -> Result<(), ProvisionError> {
    let names = &api.broker.names;
    for lane in lanes {
        let tasks = names.tasks_stream(&queue.name);
        // In the direction in which tasks move, so that one which is carried meanwhile is met in the queue. A schedule's
        // subject does not name its lane, so any of them may be for this one.
        let delayed = ask::stream(api.broker, &names.delay_stream(&queue.name)).await;
        let delayed = delayed.map_err(|error| unanswered(queue, &error))?.messages;
        // Timers of deadlines lead to no lane.
        let timers = ask::deadlines(api.broker, &queue.name).await.map_err(|error| unanswered(queue, &error))?;
        let delayed = delayed.saturating_sub(timers);
        let held = match ask::consumer(api.broker, &tasks, &names.work_consumer(*lane)).await {
            Ok(state) => state.num_pending + state.num_ack_pending,
            Err(ReadError::NoStream { .. }) => 0,
            Err(error) => return Err(unanswered(queue, &error)),
        };
        if held + delayed > 0 {
            let (queue, lane) = (queue.name.to_string(), lane.to_string());
            return Err(ProvisionError::LaneInUse { queue, lane, tasks: held, delayed });
        }
    }
    Ok(())
}

/// The lanes that the work queue has consumers for.
async fn lanes_of_consumers(api: &Api<'_>, queue: &QueueEntry) -> Result<BTreeSet<Lane>, ProvisionError> {
    let names = &api.broker.names;
    let consumers = match ask::consumers(api.broker, &names.tasks_stream(&queue.name)).await {
        // The queue is new.
        Err(ReadError::NoStream { .. }) => Vec::new(),
        consumers => consumers.map_err(|error| unanswered(queue, &error))?,
    };
    let lanes = ('a'..='z').filter_map(|letter| letter.to_string().parse::<Lane>().ok());
    Ok(lanes.filter(|lane| consumers.contains(&names.work_consumer(*lane))).collect())
}

fn unanswered(queue: &QueueEntry, error: &ReadError) -> ProvisionError {
    ProvisionError::Unanswered { name: format!("queue {}", queue.name), reason: error.to_string() }
}
