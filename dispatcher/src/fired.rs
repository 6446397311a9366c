//! What the server's scheduler has fired into `DELAY_<queue>`, taken by the dispatchers: tasks that are due (`due.rs`) and
//! deadlines that have passed (`expire.rs`).
//!
//! Every dispatcher takes some from one durable consumer of each queue. So there is no leader, no table of timers in a
//! process, and nothing to be done when a dispatcher dies: what it took is given out again.
//!
//! Each queue has a loop of its own, since the broker has a consumer for each.

mod sift;
mod taking;

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::{DelayPart, Names};

use crate::dispatcher::Dispatcher;
use crate::limits::{FIRED_LOOK_INTERVAL, SHUTDOWN_GRACE};
use taking::Taking;

/// One thing that fires, in one queue.
pub(crate) trait Firing: Clone + Send + Sync + 'static {
    /// What it is, for logs.
    const WHAT: &'static str;

    /// Where it lies in the delay stream.
    const PART: DelayPart;

    /// The durable consumer that gives it out.
    fn consumer(names: &Names) -> &'static str;

    /// Does what is to be done about one delivery, and says so to the broker.
    fn finish(self, message: Message) -> impl Future<Output = ()> + Send;
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Acknowledge,
    /// It comes again after this time, and counts as taken until then: so it is not to be long.
    Again(Duration),
}

impl Then {
    /// Says it. What is not acknowledged is given out again, and does no harm then.
    pub(crate) async fn say(self, message: &Message) {
        let kind = match self {
            Self::Acknowledge => AckKind::Ack,
            Self::Again(time) => AckKind::Nak(Some(time)),
        };
        if let Err(error) = message.ack_with(kind).await {
            tracing::debug!(subject = %message.subject, %error, "what fired is not acknowledged");
        }
    }
}

/// Takes what fires in every queue until `stop`, then finishes what it has taken.
pub(crate) async fn serve<F: Firing>(dispatcher: Dispatcher, of: impl Fn(QueueName) -> F, stop: CancellationToken) {
    let mut loops: HashMap<QueueName, JoinHandle<()>> = HashMap::new();
    let mut ticks = interval(FIRED_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // A queue that is gone ends its loop by itself, and may come back.
        loops.retain(|_, running| !running.is_finished());
        let Some(names) = stop.run_until_cancelled(names::<F>(&dispatcher)).await else { break };
        for queue in names {
            loops.entry(queue.clone()).or_insert_with(|| {
                let taking = Taking::new(dispatcher.clone(), queue.clone(), of(queue));
                tokio::spawn(taking.run(stop.clone()))
            });
        }
    }
    let mut ending: JoinSet<()> = JoinSet::new();
    for running in loops.into_values() {
        ending.spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(%error, "{} of a queue were not taken to the end", F::WHAT);
            }
        });
    }
    if timeout(SHUTDOWN_GRACE, async { while ending.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("{} were left to another dispatcher: the time was over", F::WHAT);
    }
}

/// The queues there are; none while the broker does not say.
async fn names<F: Firing>(dispatcher: &Dispatcher) -> Vec<QueueName> {
    let inner = dispatcher.inner();
    let names = match inner.connected() {
        Ok(inner) => inner.kinds.names().await,
        Err(error) => Err(error),
    };
    names.unwrap_or_else(|error| {
        tracing::debug!(%error, "queues with {} cannot be looked for now", F::WHAT);
        Vec::new()
    })
}
