//! Asks the broker for what has fired in one queue.
//!
//! Own requests instead of the client's streams, as the workers' `pull.rs` says it: those go silent with a broker that was
//! away, and nobody notices. One request is out at a time, for as many as there is room for. What it brings is taken whenever
//! it comes, also after its time, for its inbox stays the same for as long as the loop lives.

use std::time::Duration;

use async_nats::jetstream::Message as Delivered;
use async_nats::{Message, StatusCode, SubscribeError, Subscriber};
use futures::StreamExt as _;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use workfleet_link::read::ReadError;
use workfleet_proto::id::QueueName;

use super::Firing;
use super::sift::sift;
use crate::ask;
use crate::dispatcher::Dispatcher;
use crate::limits::{FIRED_AGAIN, FIRED_BATCH_MAX, FIRED_PULL_MARGIN, FIRED_PULL_TIME};

/// After so many requests in vain it is said, and then again after so many.
const FIRED_IN_VAIN_FIRST: u32 = 3;
const FIRED_IN_VAIN: u32 = 60;

/// The loop of one queue.
pub(super) struct Taking<F> {
    dispatcher: Dispatcher,
    queue: QueueName,
    firing: F,
    /// What is taken and not done.
    underway: JoinSet<()>,
    serial: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Ask again.
    Again,
    /// Ask again, and not at once.
    Refused,
    /// No answer at all.
    Silent,
    /// The connection was lost meanwhile.
    Reconnected,
    /// The process stops, or the connection is closed for good.
    Stopping,
}

impl<F: Firing> Taking<F> {
    pub(super) fn new(dispatcher: Dispatcher, queue: QueueName, firing: F) -> Self {
        Self { dispatcher, queue, firing, underway: JoinSet::new(), serial: 0 }
    }

    /// Takes until `stop`, or until the queue is gone; then finishes those that it has.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let inbox = self.dispatcher.broker().client.new_inbox();
        match self.subscribe(&inbox).await {
            Ok(messages) => self.take(&inbox, messages, &stop).await,
            Err(error) => tracing::warn!(queue = %self.queue, %error, "{} cannot be taken", F::WHAT),
        }
        while self.underway.join_next().await.is_some() {}
    }

    async fn subscribe(&self, inbox: &str) -> Result<Subscriber, SubscribeError> {
        self.dispatcher.broker().client.subscribe(format!("{inbox}.*")).await
    }

    async fn take(&mut self, inbox: &str, mut messages: Subscriber, stop: &CancellationToken) {
        let mut in_vain = 0_u32;
        loop {
            match self.request(inbox, &mut messages, stop).await {
                Ended::Again => {
                    if in_vain >= FIRED_IN_VAIN_FIRST {
                        tracing::info!(queue = %self.queue, "{} are taken again", F::WHAT);
                    }
                    in_vain = 0;
                }
                Ended::Stopping => return,
                Ended::Reconnected => self.sift().await,
                Ended::Refused if self.is_gone().await => return,
                Ended::Refused | Ended::Silent => {
                    in_vain += 1;
                    self.say_so(in_vain);
                    if stop.run_until_cancelled(sleep(FIRED_AGAIN)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// While the broker is there, and refuses or does not answer.
    fn say_so(&self, in_vain: u32) {
        if self.dispatcher.broker().is_connected() && in_vain % FIRED_IN_VAIN == FIRED_IN_VAIN_FIRST {
            tracing::warn!(
                queue = %self.queue,
                "{} are not taken: has `workfleet provision` run since this version, and do the servers have its auth.conf? \
                 `workfleet doctor` says what is missing",
                F::WHAT
            );
        }
    }

    async fn sift(&self) {
        let broker = self.dispatcher.broker();
        let (stream, filter) = (broker.names.delay_stream(&self.queue), broker.names.delay_all(F::PART, &self.queue));
        sift(broker, &stream, F::consumer(&broker.names), &filter).await;
    }

    /// One request, until it has brought all that it may, or has ended, or is given up.
    async fn request(&mut self, inbox: &str, messages: &mut Subscriber, stop: &CancellationToken) -> Ended {
        while self.underway.len() > FIRED_BATCH_MAX / 2 {
            self.underway.join_next().await;
        }
        let batch = FIRED_BATCH_MAX - self.underway.len();
        self.serial += 1;
        let reply = format!("{inbox}.{}", self.serial);
        let mut reconnects = self.dispatcher.broker().reconnects();
        reconnects.mark_unchanged();
        if !self.dispatcher.broker().is_connected() || !self.send(reply.clone(), batch).await {
            return Ended::Refused;
        }
        let until = Instant::now() + FIRED_PULL_TIME + FIRED_PULL_MARGIN;
        let mut brought = 0;
        while brought < batch {
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopping,
                message = messages.next() => match message {
                    None => return Ended::Stopping,
                    Some(message) => match message.status {
                        None => {
                            brought += 1;
                            self.start(message);
                        }
                        Some(status) if message.subject.as_str() == reply => return of_status(status),
                        // Of an earlier request.
                        Some(_) => {}
                    },
                },
                Some(_) = self.underway.join_next() => {}
                // What was asked on the old connection is not answered on the new one.
                _ = reconnects.changed() => return Ended::Reconnected,
                () = sleep_until(until) => {
                    tracing::debug!(queue = %self.queue, "a request for {} went silent; asking anew", F::WHAT);
                    return if brought > 0 { Ended::Again } else { Ended::Silent };
                }
            }
        }
        Ended::Again
    }

    async fn send(&self, reply: String, batch: usize) -> bool {
        let broker = self.dispatcher.broker();
        let (stream, consumer) = (broker.names.delay_stream(&self.queue), F::consumer(&broker.names));
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let question = json!({ "batch": batch, "expires": nanos(FIRED_PULL_TIME) });
        broker.client.publish_with_reply(subject, reply, question.to_string().into()).await.is_ok()
    }

    fn start(&mut self, message: Message) {
        let context = self.dispatcher.broker().jetstream.clone();
        self.underway.spawn(self.firing.clone().finish(Delivered { message, context }));
    }

    /// Whether nothing will ever come: the queue was retired.
    async fn is_gone(&self) -> bool {
        let broker = self.dispatcher.broker();
        let stream = broker.names.delay_stream(&self.queue);
        broker.is_connected() && matches!(ask::stream(broker, &stream).await, Err(ReadError::NoStream { .. }))
    }
}

/// Nothing in time, or the batch is full: that is how a request should end.
fn of_status(status: StatusCode) -> Ended {
    match status {
        StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Ended::Again,
        _ => Ended::Refused,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
