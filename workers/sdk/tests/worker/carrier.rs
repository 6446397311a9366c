//! What is due, carried into the queue: a dispatcher's work, and none runs here.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use workfleet_link::broker::Broker;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::header;

/// At once.
const BATCH: usize = 32;
/// As long as one question waits: one that was asked on a lost connection is asked again.
const ASKED_TIME: Duration = Duration::from_millis(500);

/// Carries for as long as the test runs.
pub(super) fn start(broker: &Broker, queue: &QueueName) {
    let (broker, queue) = (broker.clone(), queue.clone());
    tokio::spawn(async move {
        loop {
            if carry(&broker, &queue).await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
}

/// What is due now. `None`: the broker is away.
async fn carry(broker: &Broker, queue: &QueueName) -> Option<()> {
    let (stream, consumer) = (broker.names.delay_stream(queue), broker.names.due_consumer());
    let consumer: PullConsumer = broker.jetstream.get_consumer_from_stream(consumer, stream).await.ok()?;
    let mut due = consumer.fetch().max_messages(BATCH).expires(ASKED_TIME).messages().await.ok()?;
    while let Some(message) = due.next().await {
        let message = message.ok()?;
        let done = if store(broker, &message).await.is_some() { AckKind::Ack } else { AckKind::Nak(None) };
        message.ack_with(done).await.ok()?;
    }
    Some(())
}

async fn store(broker: &Broker, message: &Message) -> Option<()> {
    let subject = message.subject.replace(".delay.due.", ".task.");
    let mut headers = async_nats::HeaderMap::new();
    for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
        if !name.to_string().starts_with(header::NATS_PREFIX) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
    }
    headers.insert(header::CHECK, header::CARRIED);
    let stored = broker.jetstream.publish_with_headers(subject, headers, message.payload.clone()).await.ok()?;
    stored.await.ok().map(|_| ())
}
