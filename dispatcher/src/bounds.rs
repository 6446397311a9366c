//! How much of each bound of a queue is used: one list for the metrics and for `workfleet doctor`, so that no bound is
//! in one of them alone. docs/configuration.md says what happens at each.

use futures::future::try_join_all;
use serde::Serialize;
use workfleet_link::broker::Broker;
use workfleet_link::read::ReadError;
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

use crate::ask;

/// A bound, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The setting.
    pub limit: &'static str,
    /// How much there is.
    pub used: u64,
    /// How much there may be.
    pub max: u64,
}

impl Bound {
    fn new(limit: &'static str, used: u64, max: i64) -> Self {
        Self { limit, used, max: u64::try_from(max).unwrap_or(0) }
    }

    /// How full it is, in percent.
    pub(crate) fn percent(&self) -> u64 {
        self.used.saturating_mul(100).checked_div(self.max).unwrap_or(0)
    }
}

/// Every bound of a queue that its streams hold.
///
/// # Errors
/// When one of them is not there, or the broker does not answer.
pub(crate) async fn of_queue(
    broker: &Broker,
    queue: &QueueName,
    settings: &QueueSettings,
) -> Result<Vec<Bound>, ReadError> {
    let names = &broker.names;
    let (tasks, delay) = (names.tasks_stream(queue), names.delay_stream(queue));
    let lanes = settings::lanes(settings).into_iter().map(|lane| {
        let (tasks, consumer) = (&tasks, names.work_consumer(lane));
        async move { ask::consumer(broker, tasks, &consumer).await }
    });
    let running = try_join_all(lanes).await?.iter().map(|lane| lane.num_ack_pending).max().unwrap_or(0);
    // As admission counts them: also those that have passed and that nobody has taken yet.
    let deadlines = ask::deadlines(broker, queue).await?;
    let (tasks, delayed) = (ask::stream(broker, &tasks).await?, ask::stream(broker, &delay).await?);
    let mut bounds = vec![
        Bound::new("tasks_max", tasks.messages, settings.tasks_max),
        Bound::new("tasks_bytes_max", tasks.bytes, settings.tasks_bytes_max),
        // Each lane may run so many; the fullest counts.
        Bound::new("running_max", running, settings.running_max),
        Bound::new("scheduled_max", delayed.messages.saturating_sub(deadlines), settings.scheduled_max),
        Bound::new("scheduled_bytes_max", delayed.bytes, settings.scheduled_bytes_max),
        Bound::new("deadlines_max", deadlines, settings.deadlines_max),
    ];
    let stores = [(Store::In, "blobs_in_bytes_max"), (Store::Out, "blobs_out_bytes_max")];
    let mut streams = vec![
        ("results_bytes_max", names.results_stream(queue), settings.results_bytes_max),
        ("dead_bytes_max", names.dead_stream(queue), settings.dead_bytes_max),
    ];
    streams.extend(
        stores.map(|(store, limit)| {
            (limit, format!("OBJ_{}", names.object_store(store, queue)), settings.blobs_bytes_max)
        }),
    );
    if settings.ledger {
        streams.push(("accepted_bytes_max", names.accepted_stream(queue), settings.accepted_bytes_max));
    }
    for (limit, stream, max) in streams {
        bounds.push(Bound::new(limit, ask::stream(broker, &stream).await?.bytes, max));
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::Bound;

    #[test]
    fn a_bound_of_nothing_is_never_full() {
        assert_eq!(Bound::new("a", 9, 10).percent(), 90);
        assert_eq!(Bound::new("a", 9, 0).percent(), 0);
    }
}
