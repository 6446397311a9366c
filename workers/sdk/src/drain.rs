//! The way out of a process: nothing new, what runs may end, the rest is handed back.
//!
//! Handing back spends no attempt (see `settle`), so an operator can restart workers as often as he likes. Waiting for
//! every handler without end would be the alternative; then a cluster's patience, which is shorter, kills the process,
//! and that does spend attempts.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use workfleet_link::{admin, broker, telemetry};

use crate::presence;
use crate::station::Station;

/// Loops that bring new work: pulls and direct calls.
pub(crate) const LOOPS: u32 = 2;
/// How long each of the loops may take to hand back what was on its way to them.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long everything that was cut may take to be handed back and settled.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest time from SIGTERM to the end of a worker process, beyond its `WORKFLEET_DRAIN_TIMEOUT`.
///
/// Whoever kills processes that take long to stop must wait for the drain timeout and for this: in Kubernetes,
/// `terminationGracePeriodSeconds` is the sum of both. It is the sum of the longest times of all that comes on the way
/// out one after the other: the loops stop, what was cut is handed back, the worker's record is struck off, the
/// connection to the broker closes, the admin address closes, and the last spans and metrics leave. Usually all of it
/// takes a few milliseconds.
///
/// ```
/// let drain_timeout = std::time::Duration::from_secs(25);
/// let grace_s = (drain_timeout + workfleet_sdk::SHUTDOWN_MARGIN).as_secs();
/// assert!(grace_s > 25);
/// ```
pub const SHUTDOWN_MARGIN: Duration = STOP_TIME_MAX
    .saturating_mul(LOOPS)
    .saturating_add(SETTLE_TIME_MAX)
    .saturating_add(presence::WRITE_TIME_MAX)
    .saturating_add(broker::CLOSE_TIME_MAX)
    .saturating_add(admin::STOP_TIME_MAX)
    .saturating_add(telemetry::STOP_TIME_MAX);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Everything is settled or handed back, and every handler has stopped.
    Clean,
    /// Everything is settled or handed back, but some handler does not stop.
    Stuck,
}

/// Drains; `loops` are those that bring new work.
pub(crate) async fn drain(
    station: &Arc<Station>,
    loops: [JoinHandle<()>; LOOPS as usize],
    timeout: Duration,
) -> Drained {
    station.drain.draining.cancel();
    for running in loops {
        if tokio::time::timeout(STOP_TIME_MAX, running).await.is_err() {
            tracing::warn!("a loop did not stop in time; what was on its way to it comes back after its lease");
        }
    }
    station.underway.close();
    if tokio::time::timeout(timeout, station.underway.wait()).await.is_err() {
        tracing::info!(running = station.underway.len(), "handing back what still runs");
        station.drain.cut.cancel();
        if tokio::time::timeout(SETTLE_TIME_MAX, station.underway.wait()).await.is_err() {
            tracing::warn!(
                left = station.underway.len(),
                "not all is handed back; the rest comes back after its lease"
            );
        }
    }
    if station.slots.any_stuck() {
        tracing::error!("handlers that block do not stop; the process ends without them");
        return Drained::Stuck;
    }
    tracing::info!("drained");
    Drained::Clean
}
