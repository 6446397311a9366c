//! Takes letters from the consumer of one queue.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use workfleet_link::read::StoredMessage;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::DeadAlert;

use super::place::{Places, Told};
use crate::dead::letter::Letter;
use crate::dispatcher::Dispatcher;
use crate::limits::{ALERT_AGAIN, ALERT_BATCH_MAX, ALERT_PULL_TIME};

/// What becomes of a delivery.
enum Answer {
    Done,
    Again(Duration),
}

/// Until the queue is gone, or has no alert any more.
pub(super) async fn run(dispatcher: Dispatcher, queue: QueueName) {
    let mut places = Places::default();
    loop {
        let settings = match dispatcher.inner().kinds.queue(queue.as_str()).await {
            Ok(queue) => queue.settings.dead_alert.clone(),
            Err(error) => {
                tracing::debug!(%queue, %error, "dead letters are not told of now");
                return;
            }
        };
        let Some(alert) = settings else { return };
        if let Err(error) = pull(&dispatcher, &queue, &alert, &mut places).await {
            tracing::debug!(%queue, error, "dead letters cannot be taken to be told of");
            tokio::time::sleep(ALERT_AGAIN).await;
        }
    }
}

/// One batch. Without a heartbeat, with which a batch of the client's falls asleep.
async fn pull(
    dispatcher: &Dispatcher,
    queue: &QueueName,
    alert: &DeadAlert,
    places: &mut Places,
) -> Result<(), String> {
    let broker = dispatcher.broker();
    let (stream, name) = (broker.names.dead_stream(queue), broker.names.alert_consumer());
    let consumer: PullConsumer =
        broker.jetstream.get_consumer_from_stream(name, stream).await.map_err(|error| error.to_string())?;
    let batch = consumer.batch().max_messages(ALERT_BATCH_MAX).expires(ALERT_PULL_TIME).messages().await;
    let mut batch = batch.map_err(|error| error.to_string())?;
    while let Some(message) = batch.next().await {
        let message = message.map_err(|error| error.to_string())?;
        let answer = tell(dispatcher, queue, alert, places, &message).await;
        let acknowledged = match answer {
            Answer::Done => message.ack().await,
            Answer::Again(delay) => message.ack_with(AckKind::Nak(Some(delay))).await,
        };
        acknowledged.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn tell(
    dispatcher: &Dispatcher,
    queue: &QueueName,
    alert: &DeadAlert,
    places: &mut Places,
    message: &Message,
) -> Answer {
    let Some((letter, is_new)) = read(message) else { return Answer::Done };
    match places.tell(dispatcher, queue, alert, &letter, is_new).await {
        Ok(Told::Told) => Answer::Done,
        Ok(Told::Later(delay)) => Answer::Again(delay),
        Err(error) if error.code.status() < 500 && error.retry_after_ms.is_none() && error.code.status() != 404 => {
            // It will not be taken the next time either.
            tracing::warn!(%queue, task = %letter.id, %error, "a dead letter is not told of");
            Answer::Done
        }
        Err(error) => {
            tracing::debug!(%queue, task = %letter.id, %error, "a dead letter is told of later");
            Answer::Again(ALERT_AGAIN)
        }
    }
}

/// The letter of a delivery, and whether it is delivered for the first time.
fn read(message: &Message) -> Option<(Letter, bool)> {
    let info = message.info().ok()?;
    let stored = StoredMessage {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        time_ms: i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).ok()?,
        headers: message.headers.clone().unwrap_or_default(),
        payload: message.payload.clone(),
    };
    let is_new = info.delivered <= 1;
    Some((Letter::read(&stored)?.without_payload(), is_new))
}
