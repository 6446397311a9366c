//! Hears what is said, answers, and makes up for what was not heard.
//!
//! Every worker hears everything, so there is no queue group. The subscription is sent before the worker's record in
//! `WORKERS` and before its first pull, on the same connection, which the broker reads in order: whoever is registered
//! hears. And a connection that was lost may have lost a word with it, so after each reconnect the records of all tasks in
//! this process are read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures::StreamExt as _;
use prost::Message as _;
use tokio::task::JoinHandle;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{FleetCancel, FleetCancelReply};

use crate::look;
use crate::station::Station;
use crate::worker::RunError;

/// How long the subscription may take to leave this process.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the first connect may take to be told.
const CONNECTED_TIME_MAX: Duration = Duration::from_secs(1);
/// Records that are read at once after a reconnect.
const READS_MAX: usize = 16;
/// How long a record is tried to be read. A lease that was not renewed for so long is another's.
const READ_TIME_MAX: Duration = Duration::from_secs(60);
/// Wait between two tries.
const TRY_DELAY: Duration = Duration::from_millis(250);

/// The worker hears for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Hearing {
    running: [JoinHandle<()>; 2],
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

/// Begins to hear.
pub(crate) async fn serve(station: &Arc<Station>) -> Result<Hearing, RunError> {
    let subject = station.broker.names.cancel(&station.queue);
    let client = &station.broker.client;
    let words = client.subscribe(subject.clone()).await;
    let words = words.map_err(|error| RunError::Subscribe { subject, reason: error.to_string() })?;
    // Without a connection there is nothing to wait for: it comes with the next one, before anything else.
    let _ = tokio::time::timeout(FLUSH_TIME_MAX, client.flush()).await;
    let running = [tokio::spawn(hear(Arc::clone(station), words)), tokio::spawn(make_up(Arc::clone(station)))];
    Ok(Hearing { running })
}

async fn hear(station: Arc<Station>, mut words: Subscriber) {
    while let Some(message) = words.next().await {
        heard(&station, message).await;
    }
    tracing::warn!("the subscription for cancels has ended");
}

async fn heard(station: &Station, message: Message) {
    let cancel = match FleetCancel::decode(message.payload) {
        Ok(cancel) => cancel,
        Err(error) => return tracing::warn!(%error, "what was said of cancels cannot be read"),
    };
    let ids = cancel.ids.iter().filter_map(|id| id.parse::<TaskId>().ok());
    let held = station.halts.tell(ids.filter(|id| id.queue_str() == station.queue.as_str()));
    for id in &held {
        let state = cancel.state().word();
        tracing::info!(workfleet.task.id = %id, state, reason = cancel.reason, "a task in this process has been halted");
    }
    let Some(reply) = message.reply else { return };
    let held = held.iter().map(ToString::to_string).collect();
    let answer = FleetCancelReply { worker: station.worker.clone(), held };
    if let Err(error) = station.broker.client.publish(reply, answer.encode_to_vec().into()).await {
        tracing::debug!(%error, "an answer to a cancel is not sent");
    }
}

/// Reads the records of what is here after each reconnect.
async fn make_up(station: Arc<Station>) {
    let mut reconnects = station.broker.reconnects();
    // The first connect is no reconnect, and it may be told late.
    let _ = tokio::time::timeout(CONNECTED_TIME_MAX, reconnects.wait_for(|count| *count > 0)).await;
    reconnects.mark_unchanged();
    while reconnects.changed().await.is_ok() {
        station.halts.missed();
        let held = futures::stream::iter(station.halts.held());
        held.for_each_concurrent(READS_MAX, |(id, run)| read(&station, id, run)).await;
    }
}

/// Reads one record, until it can be read, or nobody needs it any more.
async fn read(station: &Station, id: TaskId, run: u32) {
    let start = Instant::now();
    while station.halts.holds(&id) && start.elapsed() < READ_TIME_MAX {
        match look::result(&station.broker, &id).await {
            Ok(record) => {
                if record.is_some_and(|record| record.state().is_end() && record.run >= run) {
                    station.halts.tell([id]);
                }
                return;
            }
            Err(error) => {
                tracing::debug!(workfleet.task.id = %id, %error, "a record is read again");
                tokio::time::sleep(TRY_DELAY).await;
            }
        }
    }
}
