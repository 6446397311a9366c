//! Waiting for an end (rule 16): subscribe to where the result is republished, read the result, then wait.
//!
//! In that order nothing can slip through between the read and the subscription. A republished message is no promise,
//! so the result is read again after each reconnect and every 5 s. Nobody listens to everybody's results: a dispatcher
//! that did would receive the whole fleet's output once per replica.

use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1;

use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;
use crate::limits::REREAD_INTERVAL;

impl Inner {
    /// Waits for the task's end, `time` at most; `None`: it has not ended.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn wait_for_end(
        &self,
        queue: &Queue,
        id: &TaskId,
        time: Duration,
    ) -> Result<Option<v1::Result>, ApiError> {
        let done = self.subscribe(self.broker.names.done(id)).await?;
        match timeout(time, self.until_end(queue, id, done)).await {
            Ok(ended) => ended.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn until_end(&self, queue: &Queue, id: &TaskId, mut done: Subscriber) -> Result<v1::Result, ApiError> {
        let mut reconnects = self.broker.reconnects();
        let mut reread = reread_ticks();
        loop {
            if let Some(result) = self.read_end(queue, id).await? {
                return Ok(result);
            }
            loop {
                tokio::select! {
                    message = done.next() => match message {
                        Some(message) => if let Some(result) = end(&message) { return Ok(result) },
                        None => return Err(unavailable("the connection to the broker is closed".to_owned())),
                    },
                    _ = reconnects.changed() => break,
                    _ = reread.tick() => break,
                }
            }
        }
    }

    /// The result, if it is an end. While the broker is away there is none yet: the wait goes on.
    async fn read_end(&self, queue: &Queue, id: &TaskId) -> Result<Option<v1::Result>, ApiError> {
        if !self.broker.is_connected() {
            return Ok(None);
        }
        match self.read_result(queue, id).await {
            Ok(result) => Ok(result.filter(|result| result.state().is_end())),
            Err(error) if error.code == crate::error::Code::BrokerUnavailable => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Subscribes on core NATS. What is read afterwards is newer than the subscription.
    pub(crate) async fn subscribe(&self, subject: String) -> Result<Subscriber, ApiError> {
        self.broker.client.subscribe(subject).await.map_err(|error| unavailable(error.to_string()))
    }
}

/// A republished result, if it is an end.
pub(crate) fn end(message: &async_nats::Message) -> Option<v1::Result> {
    v1::Result::decode(message.payload.clone()).ok().filter(|result| result.state().is_end())
}

/// Ticks at which the result is read again.
pub(crate) fn reread_ticks() -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + REREAD_INTERVAL, REREAD_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
