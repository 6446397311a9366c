//! What a serving dispatcher does without being asked: keeps the streams of events there, measures the queues and their
//! object stores, and sweeps those.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;

use crate::ask;
use crate::bounds;
use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::limits::{MEASURE_BLOBS_INTERVAL, MEASURE_BOUNDS_INTERVAL, MEASURE_INTERVAL, SWEEP_INTERVAL};
use crate::metrics::Fill;
use crate::streams;
use crate::sweep::{Sweep, SweepPace, Swept};

/// Pause before a failed restoration is tried again.
const RESTORE_PAUSE: Duration = Duration::from_secs(1);

/// Works until `stop`.
pub(crate) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    tokio::select! {
        () = restore_events(&dispatcher) => {}
        () = measure(&dispatcher) => {}
        () = measure_blobs(&dispatcher) => {}
        () = measure_bounds(&dispatcher) => {}
        () = sweep(&dispatcher) => {}
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
        dispatcher.metrics().places(&dispatcher.inner().places());
        match dispatcher.inner().kinds.names().await {
            Ok(names) => drop(join_all(names.iter().map(|name| measure_queue(dispatcher, name))).await),
            Err(error) => tracing::debug!(%error, "the queues cannot be measured now"),
        }
    }
}

/// One queue whose streams have no leader hides no other: each is measured by itself, here and below.
async fn measure_queue(dispatcher: &Dispatcher, name: &QueueName) {
    match dispatcher.queue(name.as_str()).await {
        Ok(queue) => dispatcher.metrics().queue(&queue),
        // A queue may go meanwhile.
        Err(error) => tracing::debug!(queue = %name, %error, "the queue cannot be measured now"),
    }
}

async fn measure_blobs(dispatcher: &Dispatcher) {
    let mut ticks = interval(MEASURE_BLOBS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let names = match dispatcher.inner().kinds.names().await {
            Ok(names) => names,
            Err(error) => {
                tracing::debug!(%error, "the object stores cannot be measured now");
                continue;
            }
        };
        for queue in names {
            if let Err(error) = measure_stores(dispatcher, &queue).await {
                tracing::debug!(%queue, %error, "the object stores of the queue cannot be measured now");
            }
        }
    }
}

async fn measure_stores(dispatcher: &Dispatcher, queue: &QueueName) -> Result<(), ApiError> {
    let inner = dispatcher.inner();
    for (store, word) in [(Store::In, "in"), (Store::Out, "out")] {
        let name = inner.broker.names.object_store(store, queue);
        let stream = format!("OBJ_{name}");
        let blobs = ask::count(&inner.broker, &stream, &format!("$O.{name}.M.>")).await?;
        let (state, bytes_max) = ask::stream_and_bytes_max(&inner.broker, &stream).await?;
        inner.metrics.object_store(queue, word, Fill { blobs, bytes: state.bytes, bytes_max });
    }
    // Nothing was swept: its series begin with 0, so that the first sweep is seen to raise them.
    inner.metrics.swept(&Swept { queue: queue.to_string(), ..Swept::default() });
    Ok(())
}

async fn measure_bounds(dispatcher: &Dispatcher) {
    let mut ticks = interval(MEASURE_BOUNDS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = measure_queues(dispatcher).await {
            tracing::debug!(%error, "the bounds of the queues cannot be measured now");
        }
    }
}

async fn measure_queues(dispatcher: &Dispatcher) -> Result<(), ApiError> {
    let inner = dispatcher.inner();
    for name in inner.connected()?.kinds.names().await? {
        // A queue may go meanwhile.
        let Ok(queue) = inner.kinds.queue(name.as_str()).await else { continue };
        match bounds::of_queue(&inner.broker, &name, &queue.settings).await {
            Ok(bounds) => inner.metrics.bounds(&name, &bounds),
            Err(error) => tracing::debug!(queue = %name, %error, "the bounds of the queue cannot be measured now"),
        }
    }
    let log = inner.broker.names.operations_stream();
    let (state, bytes_max) = ask::stream_and_bytes_max(&inner.broker, &log).await?;
    inner.metrics.operations(state.bytes, bytes_max);
    Ok(())
}

/// At times that differ from dispatcher to dispatcher, so that they do not all sweep at once.
async fn sweep(dispatcher: &Dispatcher) {
    let mut pause = SWEEP_INTERVAL.mul_f64(rand::random::<f64>());
    loop {
        tokio::time::sleep(pause).await;
        pause = SWEEP_INTERVAL.mul_f64(0.9 + 0.2 * rand::random::<f64>());
        match dispatcher.sweep(&Sweep { pace: SweepPace::Gentle, ..Sweep::default() }).await {
            Ok(swept) => {
                let bytes: u64 = swept.iter().map(|swept| swept.bytes).sum();
                let blobs: u64 = swept.iter().map(|s| s.inputs + s.outputs + s.uploads + s.unfinished).sum();
                tracing::info!(blobs, bytes, "swept blobs that were nobody's");
            }
            Err(error) => tracing::warn!(%error, "the object stores cannot be swept now"),
        }
    }
}
