//! Who this process is, and that it lives: its record in `WORKERS`.
//!
//! The record is written anew every few seconds and vanishes by itself, so a process that was killed needs nobody to
//! strike it off.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinHandle;
use workfleet_link::telemetry::{host, version};
use workfleet_link::time::now_ms;
use workfleet_proto::v1::WorkerRecord;

use crate::station::Station;

/// How often the record is written; the bucket keeps it for about three times as long.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// How long a write may take before it is given up.
pub(crate) const WRITE_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest part of the host's name in the id.
const HOST_LENGTH_MAX: usize = 40;

/// The id of this process: host, process id and a random part, since ids of processes come again.
pub(crate) fn worker_id() -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let host: String = host().chars().map(clean).take(HOST_LENGTH_MAX).collect();
    format!("{host}-{}-{:06x}", std::process::id(), rand::random::<u32>() & 0x00ff_ffff)
}

/// The record, renewed until stopped.
pub(crate) struct Presence {
    station: Arc<Station>,
    renewing: JoinHandle<()>,
}

impl Presence {
    pub(crate) fn start(station: &Arc<Station>) -> Self {
        let renewing = tokio::spawn(renew(Arc::clone(station)));
        Self { station: Arc::clone(station), renewing }
    }

    /// Strikes the record off.
    pub(crate) async fn stop(self) {
        self.renewing.abort();
        if !self.station.broker.is_connected() {
            // It vanishes by itself.
            return;
        }
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        write(&self.station, headers, Bytes::new()).await;
    }
}

async fn renew(station: Arc<Station>) {
    let started_at_ms = now_ms();
    let mut ticks = tokio::time::interval(RENEW_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write(&station, HeaderMap::new(), record(&station, started_at_ms).encode_to_vec().into()).await;
    }
}

fn record(station: &Station, started_at_ms: i64) -> WorkerRecord {
    WorkerRecord {
        id: station.worker.clone(),
        queue: station.queue.to_string(),
        host: host(),
        version: version(),
        slots: station.slots.total(),
        busy: station.slots.busy(),
        started_at_ms,
        schema: station.schema.clone(),
    }
}

async fn write(station: &Station, headers: HeaderMap, record: Bytes) {
    let names = &station.broker.names;
    let subject = format!("$KV.{}.{}", names.workers_bucket(), names.worker_key(&station.queue, &station.worker));
    let publish = async {
        let stored = station.broker.jetstream.publish_with_headers(subject, headers, record).await;
        match stored {
            Ok(stored) => stored.await.map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    let failed = match tokio::time::timeout(WRITE_TIME_MAX, publish).await {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => "no answer".to_owned(),
    };
    // Nothing depends on the record but what people see, and it is written again soon.
    tracing::debug!(reason = failed, "the worker's record is not written");
}

#[cfg(test)]
mod tests {
    use super::worker_id;

    #[test]
    fn an_id_is_one_token_of_a_subject_and_no_two_are_the_same() {
        let id = worker_id();
        assert!(id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'), "{id}");
        assert_ne!(id, worker_id());
    }
}
