//! A deadline that has passed: its task is ended, and only then the deadline is acknowledged.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use workfleet_link::time::now_ms;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::settlement::{Cause, Halted};

use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::halt::{Halting, Outcome, Telling};
use crate::limits::{EXPIRE_AGAIN, EXPIRE_MARKED_AGAIN, EXPIRE_TIME_MAX, EXPIRE_UNKNOWN_AGAIN};
use crate::publish::{deadline_of, set_ms_of};

/// One delivery.
pub(super) struct Taken {
    dispatcher: Dispatcher,
    queue: QueueName,
    message: Message,
}

/// What becomes of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Acknowledge,
    /// It comes again after this time.
    Again(Duration),
}

impl Taken {
    pub(super) fn new(dispatcher: Dispatcher, queue: QueueName, message: Message) -> Self {
        Self { dispatcher, queue, message }
    }

    /// Ends the task, once there is a place, and acknowledges.
    pub(super) async fn finish(self, places: &Semaphore) {
        let work = async {
            let _place = places.acquire().await;
            self.expire().await
        };
        let (outcome, then) = match timeout(EXPIRE_TIME_MAX, work).await {
            Ok(done) => done,
            Err(_) => ("unclear", Then::Again(EXPIRE_AGAIN)),
        };
        self.dispatcher.metrics().deadline_passed(&self.queue, outcome);
        let kind = match then {
            Then::Acknowledge => AckKind::Ack,
            Then::Again(time) => AckKind::Nak(Some(time)),
        };
        // What is not acknowledged is given out again, and does no harm then.
        if let Err(error) = self.message.ack_with(kind).await {
            tracing::debug!(queue = %self.queue, %error, "a deadline is not acknowledged");
        }
    }

    async fn expire(&self) -> (&'static str, Then) {
        let Some((id, deadline_ms)) = self.timer() else {
            tracing::warn!(subject = %self.message.subject, "what fired is no task's deadline");
            return ("garbled", Then::Acknowledge);
        };
        match self.halt(&id, deadline_ms).await {
            Ok(Outcome { halted: Halted::Halted, .. }) => {
                tracing::debug!(task = %id, "its deadline passed: the task is expired");
                ("expired", Then::Acknowledge)
            }
            // As of most tasks with a deadline.
            Ok(Outcome { halted: Halted::Ended(_), .. }) => ("ended", Then::Acknowledge),
            Ok(Outcome { halted: Halted::Marked, .. }) => ("marked", Then::Again(EXPIRE_MARKED_AGAIN)),
            Ok(Outcome { halted: Halted::Unknown, .. }) => self.unknown(),
            Err(error) => {
                tracing::debug!(task = %id, %error, "a task cannot be expired now");
                ("unclear", Then::Again(EXPIRE_AGAIN))
            }
        }
    }

    async fn halt(&self, id: &TaskId, deadline_ms: i64) -> Result<Outcome, ApiError> {
        let inner = self.dispatcher.inner();
        let queue = inner.queue_of(id).await?;
        let halting = Halting {
            cause: Cause::Expired,
            deadline_ms: Some(deadline_ms),
            reason: String::new(),
            telling: Telling::Passing,
        };
        inner.halt(&queue, id, &halting).await
    }

    /// The task and the deadline that its timer was stored for.
    fn timer(&self) -> Option<(TaskId, i64)> {
        let id: TaskId = self.message.subject.rsplit('.').next()?.parse().ok()?;
        let deadline_ms = self.message.headers.as_ref().and_then(deadline_of)?;
        (id.queue() == self.queue).then_some((id, deadline_ms))
    }

    /// A timer is stored before its task, so one whose task is not there is looked at once more. Twice by two counts: a
    /// dispatcher that died may have had the first look, and the clocks of two machines may differ.
    ///
    /// One that was set long before it fired is dropped at once: its task has ended, and its result is no longer kept. Each
    /// that waits holds a place among those that may be under way.
    fn unknown(&self) -> (&'static str, Then) {
        let deadline_ms = self.timer().map(|(_, deadline_ms)| deadline_ms);
        let set_ms = self.message.headers.as_ref().and_then(set_ms_of);
        let again_ms = i64::try_from(EXPIRE_UNKNOWN_AGAIN.as_millis()).unwrap_or(i64::MAX);
        if deadline_ms.zip(set_ms).is_some_and(|(deadline_ms, set_ms)| deadline_ms.saturating_sub(set_ms) > again_ms) {
            return ("unknown", Then::Acknowledge);
        }
        let info = self.message.info().ok();
        let fired_ms = info.as_ref().map(|info| info.published.unix_timestamp_nanos() / 1_000_000);
        let is_old = fired_ms.is_some_and(|fired_ms| {
            i128::from(now_ms()) - fired_ms >= i128::try_from(EXPIRE_UNKNOWN_AGAIN.as_millis()).unwrap_or(i128::MAX)
        });
        let is_first = info.is_none_or(|info| info.delivered <= 1);
        if is_first || !is_old {
            return ("looked_again", Then::Again(EXPIRE_UNKNOWN_AGAIN));
        }
        ("unknown", Then::Acknowledge)
    }
}
