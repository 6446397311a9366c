//! What a serving dispatcher does without being asked: keeps the streams of events there, and measures the queues.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::limits::MEASURE_INTERVAL;
use crate::streams;

/// Pause before a failed restoration is tried again.
const RESTORE_PAUSE: Duration = Duration::from_secs(1);

/// Works until `stop`.
pub(crate) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    tokio::select! {
        () = restore_events(&dispatcher) => {}
        () = measure(&dispatcher) => {}
        () = stop.cancelled() => {}
    }
}

/// Streams in memory are gone once all their servers have stopped, so they are made again after each connect.
async fn restore_events(dispatcher: &Dispatcher) {
    let broker = dispatcher.broker();
    let mut reconnects = broker.reconnects();
    loop {
        reconnects.mark_unchanged();
        match streams::restore_events(broker).await {
            Ok(made) if made.is_empty() => {}
            Ok(made) => tracing::info!(streams = made.join(" "), "streams in memory were gone and are there again"),
            Err(error) => {
                tracing::warn!(%error, "streams in memory cannot be looked after");
                tokio::time::sleep(RESTORE_PAUSE).await;
                continue;
            }
        }
        if reconnects.changed().await.is_err() {
            return;
        }
    }
}

async fn measure(dispatcher: &Dispatcher) {
    let mut ticks = interval(MEASURE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let connected = dispatcher.broker().is_connected();
        dispatcher.metrics().broker(connected);
        match dispatcher.queues().await {
            Ok(list) => list.queues.iter().for_each(|queue| dispatcher.metrics().queue(queue)),
            Err(error) => tracing::debug!(%error, "the queues cannot be measured now"),
        }
    }
}
