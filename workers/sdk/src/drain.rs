//! The way out of a process: nothing new, what runs may end, the rest is handed back.
//!
//! Handing back spends no attempt (see `settle`), so an operator can restart workers as often as he likes. Waiting for
//! every handler without end would be the alternative; then a cluster's patience, which is shorter, kills the process,
//! and that does spend attempts.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::station::Station;

/// How long the loops may take to hand back what was on its way to them.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long everything that was cut may take to be handed back and settled.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Everything is settled or handed back, and every handler has stopped.
    Clean,
    /// Everything is settled or handed back, but some handler does not stop.
    Stuck,
}

/// Drains; `loops` are those that bring new work.
pub(crate) async fn drain<const N: usize>(
    station: &Arc<Station>,
    loops: [JoinHandle<()>; N],
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
