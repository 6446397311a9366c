//! Tells of dead letters by webhooks: one task for each, of the queue and to the URL that the settings name.
//!
//! All dispatchers share a durable consumer of the letters, and acknowledge one once its task is stored. How many are told
//! of in a minute is kept without any counter that they would have to share: a minute has as many places as webhooks, and
//! a place is an idempotency key. A letter takes the first one that no other letter has, in the minute in which its task
//! failed; the same letter, met again, finds its own, also where a worker has stored it a second time. One that is stored
//! long after its task failed, and finds no place there, takes one of the minute in which it was stored. So neither a
//! restart nor a second dispatcher tells of a letter twice, or of more than there are places. A counter in each dispatcher
//! would let through as many times more as there are of them.
//!
//! The first letter that finds no place comes back when its minute is over, and is told of as how many there were beyond.

mod place;
mod puller;
mod say;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::QueueName;

use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::limits::ALERT_LOOK_INTERVAL;

/// Works until `stop`.
pub(crate) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    stop.run_until_cancelled(look_after(&dispatcher)).await;
}

/// Keeps one puller for each queue with an alert. A queue that has none any more ends its puller itself.
async fn look_after(dispatcher: &Dispatcher) {
    let (mut pullers, mut running) = (JoinSet::new(), HashMap::<QueueName, AbortHandle>::new());
    loop {
        while pullers.try_join_next().is_some() {}
        running.retain(|_, puller| !puller.is_finished());
        match queues(dispatcher).await {
            Ok(queues) => {
                for queue in queues {
                    if let Entry::Vacant(place) = running.entry(queue) {
                        let puller = pullers.spawn(puller::run(dispatcher.clone(), place.key().clone()));
                        place.insert(puller);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "it cannot be seen whose dead letters are to be told of"),
        }
        tokio::time::sleep(ALERT_LOOK_INTERVAL).await;
    }
}

/// Queues that have an alert.
async fn queues(dispatcher: &Dispatcher) -> Result<Vec<QueueName>, ApiError> {
    let kinds = &dispatcher.inner().connected()?.kinds;
    let mut alerting = Vec::new();
    for name in kinds.names().await? {
        // One that was retired a moment ago, or cannot be read, keeps no other from being told of.
        if kinds.queue(name.as_str()).await.is_ok_and(|queue| queue.settings.dead_alert.is_some()) {
            alerting.push(name);
        }
    }
    Ok(alerting)
}
