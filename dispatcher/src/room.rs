//! Whether a queue has room: the bounds that its streams cannot keep themselves (rule 18).
//!
//! A stream with schedules cannot refuse, and one with results drops its oldest instead of refusing; so both are asked
//! what they hold, twice a second at most, and count what they let in since. Several dispatchers together may pass a
//! bound by what the others let in within half a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::future::try_join;
use workfleet_link::broker::Broker;
use workfleet_link::time::now_ms;
use workfleet_proto::id::QueueName;
use workfleet_proto::limits::INLINE_BYTES_MAX;

use crate::admit::{Admitted, Start};
use crate::ask;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::limits::{COUNTS_FRESH, QUEUE_FULL_RETRY_AFTER_MS, RETENTION_MIN, ROOM_ANSWER_TIMEOUT, ROOM_CHECK_TIMEOUT};

/// Knows whether queues have room.
pub(crate) struct Room {
    broker: Broker,
    /// Never emptied: one entry for each queue and bound.
    counters: Mutex<HashMap<(QueueName, Bound), Arc<Counter>>>,
}

/// A bound of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Results,
    Scheduled,
    /// What waits and runs. The stream refuses by itself what is too much; it is asked where that would be too late.
    Tasks,
    /// Retries, which nobody refuses: a queue whose tasks all fail must stop taking new ones before they fill the
    /// broker, or no queue could store anything any more.
    Retries,
    /// Deadlines that have not passed: their timers lie in the delay stream too.
    Deadlines,
}

/// How much of `scheduled_bytes_max` scheduled tasks and retries together may come to.
const RETRIES_FACTOR: u64 = 2;

/// What a stream said lately about one bound. Each has its own, so that nobody waits behind another queue's stream.
#[derive(Debug, Default)]
struct Counter {
    told: Mutex<Option<Told>>,
    /// Held by whoever asks the stream.
    asking: tokio::sync::Mutex<()>,
}

/// What a stream said, and what was let in since.
#[derive(Debug, Clone)]
struct Told {
    at: Instant,
    /// How much there was room for. That a stream gave no answer is remembered too, or all who wait for it would find
    /// out one after the other.
    left: Result<Left, ApiError>,
}

/// How much there is room for. What is over in either way is full; the last that is let in may stand over.
#[derive(Debug, Clone, Copy)]
struct Left {
    tasks: u64,
    bytes: u64,
}

impl Left {
    const ENDLESS: Self = Self { tasks: u64::MAX, bytes: u64::MAX };
    const NOTHING: Self = Self { tasks: 0, bytes: 0 };

    fn less(self, task_bytes: u64) -> Self {
        Self { tasks: self.tasks.saturating_sub(1), bytes: self.bytes.saturating_sub(task_bytes) }
    }
}

impl Counter {
    /// How much room there was a moment ago, less what was let in since; and lets one of so many bytes in.
    fn take(&self, task_bytes: u64) -> Option<Result<Left, ApiError>> {
        let mut told = self.told();
        let told = told.as_mut().filter(|told| told.at.elapsed() < COUNTS_FRESH)?;
        let before = told.left.clone();
        if let Ok(left) = &mut told.left {
            *left = left.less(task_bytes);
        }
        Some(before)
    }

    fn remember(&self, left: Result<Left, ApiError>) {
        *self.told() = Some(Told { at: Instant::now(), left });
    }

    /// Nothing under this lock can be left half done.
    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, counters: Mutex::default() }
    }

    /// Whether the queue has room for this task.
    ///
    /// # Errors
    /// When it has none, or the broker does not answer.
    pub(crate) async fn check(&self, queue: &Queue, admitted: &Admitted) -> Result<(), ApiError> {
        // A publish without a connection would be stored whenever the connection is back, long after we gave up.
        if !self.broker.is_connected() {
            return Err(unavailable("the broker cannot be reached; nothing was accepted".to_owned()));
        }
        // A larger payload leaves a claim check in the message.
        let inline = Some(admitted.envelope.payload.len()).filter(|bytes| *bytes <= INLINE_BYTES_MAX);
        let bytes = inline.map_or(0, |bytes| bytes as u64);
        let check = async {
            let results = self.check_bound(queue, Bound::Results, bytes);
            if admitted.envelope.deadline_ms.is_some() {
                self.check_bound(queue, Bound::Deadlines, 0).await?;
            }
            match admitted.start {
                // What starts now takes no room there.
                Start::Now => try_join(results, self.check_bound(queue, Bound::Retries, 0)).await.map(|_| ()),
                Start::At(_) => try_join(results, self.check_bound(queue, Bound::Scheduled, bytes)).await.map(|_| ()),
            }
        };
        tokio::time::timeout(ROOM_CHECK_TIMEOUT, check).await.unwrap_or_else(|_| Err(silent(queue)))
    }

    /// Whether the queue has room for one more deadline, which a task that it has already is given.
    ///
    /// # Errors
    /// When it has none, or the broker does not answer.
    pub(crate) async fn check_deadline(&self, queue: &Queue) -> Result<(), ApiError> {
        let check = self.check_bound(queue, Bound::Deadlines, 0);
        tokio::time::timeout(ROOM_CHECK_TIMEOUT, check).await.unwrap_or_else(|_| Err(silent(queue)))
    }

    /// Whether there is room among the queue's tasks for one more, whose message has so many bytes. Others may take it before
    /// that is stored.
    ///
    /// # Errors
    /// When there is none, or the broker does not answer.
    pub(crate) async fn check_task(&self, queue: &Queue, bytes: u64) -> Result<(), ApiError> {
        let check = async {
            let left = self.left(queue, Bound::Tasks, bytes).await?;
            if left.tasks > 0 && left.bytes > bytes { Ok(()) } else { Err(full(queue, Bound::Tasks, left)) }
        };
        tokio::time::timeout(ROOM_CHECK_TIMEOUT, check).await.unwrap_or_else(|_| Err(silent(queue)))
    }

    async fn check_bound(&self, queue: &Queue, bound: Bound, bytes: u64) -> Result<(), ApiError> {
        let left = self.left(queue, bound, bytes).await?;
        if left.tasks > 0 && left.bytes > 0 { Ok(()) } else { Err(full(queue, bound, left)) }
    }

    async fn left(&self, queue: &Queue, bound: Bound, bytes: u64) -> Result<Left, ApiError> {
        let counter = self.counter(queue, bound);
        match counter.take(bytes) {
            Some(left) => left,
            None => self.ask(queue, bound, bytes, &counter).await,
        }
    }

    fn counter(&self, queue: &Queue, bound: Bound) -> Arc<Counter> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry((queue.name.clone(), bound)).or_default())
    }

    /// Asks the stream; of many who want to, one does.
    async fn ask(&self, queue: &Queue, bound: Bound, bytes: u64, counter: &Counter) -> Result<Left, ApiError> {
        let _turn = counter.asking.lock().await;
        if let Some(left) = counter.take(bytes) {
            return left;
        }
        let question = async {
            match bound {
                Bound::Results => self.results_left(queue).await,
                Bound::Scheduled => self.scheduled_left(queue).await,
                Bound::Tasks => self.tasks_left(queue).await,
                Bound::Retries => self.retries_left(queue).await,
                Bound::Deadlines => self.deadlines_left(queue).await,
            }
        };
        let left = tokio::time::timeout(ROOM_ANSWER_TIMEOUT, question).await.unwrap_or_else(|_| Err(silent(queue)));
        counter.remember(left.clone().map(|left| left.less(bytes)));
        left
    }

    /// Retries and tasks that were handed back are in this stream too, and nobody refuses them: they were accepted. So are
    /// timers of deadlines, which are no tasks; these are counted only where they could matter.
    async fn scheduled_left(&self, queue: &Queue) -> Result<Left, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.delay_stream(&queue.name)).await?;
        let left = |max: i64, held: u64| u64::try_from(max).unwrap_or(0).saturating_sub(held);
        let max = queue.settings.scheduled_max;
        let tasks = if is_near(max, state.messages) {
            state.messages.saturating_sub(ask::deadlines(&self.broker, &queue.name).await?)
        } else {
            state.messages
        };
        Ok(Left { tasks: left(max, tasks), bytes: left(queue.settings.scheduled_bytes_max, state.bytes) })
    }

    /// All of the stream is more than its deadlines, and cheap to know.
    async fn deadlines_left(&self, queue: &Queue) -> Result<Left, ApiError> {
        let held = ask::stream(&self.broker, &self.broker.names.delay_stream(&queue.name)).await?.messages;
        let max = queue.settings.deadlines_max;
        let held = if is_near(max, held) { ask::deadlines(&self.broker, &queue.name).await? } else { held };
        Ok(Left { tasks: u64::try_from(max).unwrap_or(0).saturating_sub(held), ..Left::ENDLESS })
    }

    async fn tasks_left(&self, queue: &Queue) -> Result<Left, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.tasks_stream(&queue.name)).await?;
        let left = |max: i64, held: u64| u64::try_from(max).unwrap_or(0).saturating_sub(held);
        let settings = &queue.settings;
        Ok(Left { tasks: left(settings.tasks_max, state.messages), bytes: left(settings.tasks_bytes_max, state.bytes) })
    }

    async fn retries_left(&self, queue: &Queue) -> Result<Left, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.delay_stream(&queue.name)).await?;
        let max = u64::try_from(queue.settings.scheduled_bytes_max).unwrap_or(0).saturating_mul(RETRIES_FACTOR);
        Ok(Left { bytes: max.saturating_sub(state.bytes), ..Left::ENDLESS })
    }

    /// Results are dropped oldest first; where that would drop one that somebody may still come for, nothing more is
    /// taken.
    async fn results_left(&self, queue: &Queue) -> Result<Left, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.results_stream(&queue.name)).await?;
        let max = u64::try_from(queue.settings.results_bytes_max).unwrap_or(0);
        let nearly_full = state.bytes >= max / 10 * 9;
        let oldest_ms = state.first_ms().unwrap_or(0);
        let young = now_ms() - oldest_ms < i64::try_from(RETENTION_MIN.as_millis()).unwrap_or(i64::MAX);
        Ok(if nearly_full && young { Left::NOTHING } else { Left::ENDLESS })
    }
}

/// Whether so many messages may be near a bound that counts some of them. To count these, the server goes through all.
fn is_near(max: i64, messages: u64) -> bool {
    messages > u64::try_from(max).unwrap_or(0) / 2
}

fn silent(queue: &Queue) -> ApiError {
    unavailable(format!("the broker does not say whether {} has room; nothing was accepted", queue.name))
}

fn full(queue: &Queue, bound: Bound, left: Left) -> ApiError {
    let (name, settings) = (&queue.name, &queue.settings);
    let detail = match bound {
        Bound::Scheduled if left.tasks == 0 => {
            format!("the queue {name} has its {} scheduled tasks (scheduled_max)", settings.scheduled_max)
        }
        Bound::Scheduled => {
            let max = settings.scheduled_bytes_max;
            format!("the scheduled tasks of {name} fill their {max} bytes (scheduled_bytes_max)")
        }
        Bound::Tasks => format!("the queue {name} is full"),
        Bound::Retries => {
            let max = settings.scheduled_bytes_max;
            format!("retries and scheduled tasks of {name} fill twice {max} bytes (scheduled_bytes_max)")
        }
        Bound::Deadlines => {
            let max = settings.deadlines_max;
            format!("the queue {name} has its {max} tasks with a deadline that has not passed (deadlines_max)")
        }
        Bound::Results => {
            let max = settings.results_bytes_max;
            format!("the results of {name} fill their {max} bytes, and none is older than 10 minutes")
        }
    };
    ApiError::new(Code::QueueFull, detail).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS)
}
