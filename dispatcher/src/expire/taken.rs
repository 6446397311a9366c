//! A deadline that has passed: its task is ended, and only then the deadline is acknowledged.

use std::time::Duration;

use async_nats::jetstream::Message;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use workfleet_link::pipeline::PublishError;
use workfleet_link::time::now_ms;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::settlement::{Cause, Halted};

use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::fired::Then;
use crate::halt::{Halting, Outcome, Telling};
use crate::limits::{EXPIRE_AGAIN, EXPIRE_MARKED_AGAIN, EXPIRE_TIME_MAX, EXPIRE_UNKNOWN_AGAIN};
use crate::publish::Timer;

/// One delivery.
pub(super) struct Taken {
    dispatcher: Dispatcher,
    queue: QueueName,
    message: Message,
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
        then.say(&self.message).await;
    }

    async fn expire(&self) -> (&'static str, Then) {
        let Some((id, timer)) = self.timer() else {
            tracing::warn!(subject = %self.message.subject, "what fired is no task's deadline");
            return ("garbled", Then::Acknowledge);
        };
        match self.halt(&id, timer.deadline_ms).await {
            Ok(Outcome { halted: Halted::Halted, .. }) => {
                tracing::debug!(task = %id, "its deadline passed: the task is expired");
                ("expired", Then::Acknowledge)
            }
            // As of most tasks with a deadline.
            Ok(Outcome { halted: Halted::Ended(_), .. }) => ("ended", Then::Acknowledge),
            Ok(Outcome { halted: Halted::Marked, .. }) => {
                ("marked", self.put_off(&id, timer, EXPIRE_MARKED_AGAIN).await)
            }
            Ok(Outcome { halted: Halted::Unknown, .. }) if is_nobodys(timer) => ("unknown", Then::Acknowledge),
            Ok(Outcome { halted: Halted::Unknown, .. }) => {
                let timer = Timer { has_looked: true, ..timer };
                ("looked_again", self.put_off(&id, timer, EXPIRE_UNKNOWN_AGAIN).await)
            }
            Err(error) => {
                tracing::debug!(task = %id, %error, "a task cannot be expired now");
                ("unclear", Then::Again(EXPIRE_AGAIN))
            }
        }
    }

    /// It fires again so long after it has fired, and is done with here. To give it back with a delay was the alternative:
    /// until then it would hold a place among those that may be under way, and many together would keep all others of the
    /// queue from being taken.
    async fn put_off(&self, id: &TaskId, timer: Timer, time: Duration) -> Then {
        // By the broker's clock, as far as it is known: then one that has waited here for long does not wait anew.
        let fired = self.message.info().ok().map(|info| info.published.unix_timestamp_nanos() / 1_000_000);
        let fired_ms = fired.and_then(|fired_ms| i64::try_from(fired_ms).ok()).unwrap_or_else(now_ms);
        let fires_ms = fired_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        match self.dispatcher.inner().publisher.timer_again(id, timer, fires_ms).await {
            // Lost: the task has a later timer by now, or somebody has put this one off, and could not say so.
            Ok(_) | Err(PublishError::Lost) => Then::Acknowledge,
            Err(error) => {
                tracing::debug!(task = %id, %error, "a deadline cannot be put off now");
                Then::Again(EXPIRE_AGAIN)
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

    /// The task, and the timer that was stored for it.
    fn timer(&self) -> Option<(TaskId, Timer)> {
        let id: TaskId = self.message.subject.rsplit('.').next()?.parse().ok()?;
        let timer = self.message.headers.as_ref().and_then(Timer::read)?;
        (id.queue() == self.queue).then_some((id, timer))
    }
}

/// A timer is stored before its task, so one whose task is not there is looked at once more.
///
/// One that was set long before its deadline is dropped at once: its task has ended, and its result is no longer kept.
fn is_nobodys(timer: Timer) -> bool {
    let again_ms = i64::try_from(EXPIRE_UNKNOWN_AGAIN.as_millis()).unwrap_or(i64::MAX);
    let is_old = timer.set_ms.is_some_and(|set_ms| timer.deadline_ms.saturating_sub(set_ms) > again_ms);
    timer.has_looked || is_old
}
