//! Deadlines that have passed end their tasks (rule 12).
//!
//! The server's own scheduler fires them into `DELAY_<queue>`, where every dispatcher takes some from one durable consumer.
//! So there is no leader, no table of timers in a process, and nothing to be done when a dispatcher dies: what it took is
//! given out again. Workers check deadlines too, and for tasks that nobody holds that would not do: those would expire only
//! once somebody takes them.
//!
//! Each queue has a loop of its own, since the broker has a consumer for each; how many tasks are expired at once is bounded
//! over all of them.

mod taken;
mod taking;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::QueueName;

use crate::dispatcher::Dispatcher;
use crate::limits::{EXPIRE_LOOK_INTERVAL, EXPIRES_MAX, SHUTDOWN_GRACE};
use taking::Taking;

/// Takes deadlines of every queue until `stop`, then finishes those that it has taken.
pub(crate) async fn serve(dispatcher: Dispatcher, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(EXPIRES_MAX));
    let mut loops: HashMap<QueueName, JoinHandle<()>> = HashMap::new();
    let mut ticks = interval(EXPIRE_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // A queue that is gone ends its loop by itself, and may come back.
        loops.retain(|_, running| !running.is_finished());
        let Some(names) = stop.run_until_cancelled(names(&dispatcher)).await else { break };
        for queue in names {
            loops.entry(queue.clone()).or_insert_with(|| {
                let taking = Taking::new(dispatcher.clone(), queue, Arc::clone(&places));
                tokio::spawn(taking.run(stop.clone()))
            });
        }
    }
    let mut ending: JoinSet<()> = JoinSet::new();
    for running in loops.into_values() {
        ending.spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(%error, "deadlines of a queue were not taken to the end");
            }
        });
    }
    if timeout(SHUTDOWN_GRACE, async { while ending.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("deadlines were left to another dispatcher: the time was over");
    }
}

/// The queues there are; none while the broker does not say.
async fn names(dispatcher: &Dispatcher) -> Vec<QueueName> {
    let inner = dispatcher.inner();
    let names = match inner.connected() {
        Ok(inner) => inner.kinds.names().await,
        Err(error) => Err(error),
    };
    names.unwrap_or_else(|error| {
        tracing::debug!(%error, "queues with deadlines cannot be looked for now");
        Vec::new()
    })
}
