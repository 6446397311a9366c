//! Whether a queue has room: the bounds that its streams cannot keep themselves (rule 18).
//!
//! A stream with schedules cannot refuse, and one with results drops its oldest instead of refusing; so both are asked
//! what they hold, twice a second at most, and count what they let in since. Several dispatchers together may pass a
//! bound by what the others let in within half a second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use workfleet_link::broker::Broker;
use workfleet_link::time::now_ms;
use workfleet_proto::id::QueueName;

use crate::admit::Start;
use crate::ask;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::limits::{COUNTS_FRESH, QUEUE_FULL_RETRY_AFTER_MS, RETENTION_MIN};

/// Knows whether queues have room.
pub(crate) struct Room {
    broker: Broker,
    /// What the streams said lately; one entry for each queue and bound.
    told: Mutex<HashMap<(QueueName, Bound), Told>>,
    /// Held by whoever asks a stream.
    asking: tokio::sync::Mutex<()>,
}

/// A bound of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Results,
    Scheduled,
}

/// What a stream said, and what was let in since.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Instant,
    /// How many more there was room for.
    left: u64,
}

impl Room {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, told: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Whether the queue has room for one more.
    ///
    /// # Errors
    /// When it has none, or the broker does not answer.
    pub(crate) async fn check(&self, queue: &Queue, start: Start) -> Result<(), ApiError> {
        // A publish without a connection would be stored whenever the connection is back, long after we gave up.
        if !self.broker.is_connected() {
            return Err(unavailable("the broker cannot be reached; nothing was accepted".to_owned()));
        }
        self.check_bound(queue, Bound::Results).await?;
        match start {
            Start::Now => Ok(()),
            Start::At(_) => self.check_bound(queue, Bound::Scheduled).await,
        }
    }

    async fn check_bound(&self, queue: &Queue, bound: Bound) -> Result<(), ApiError> {
        let key = (queue.name.clone(), bound);
        let left = match self.take(&key) {
            Some(left) => left,
            None => self.ask(queue, &key).await?,
        };
        if left > 0 { Ok(()) } else { Err(full(queue, bound)) }
    }

    /// Asks the stream; of many who want to, one does.
    async fn ask(&self, queue: &Queue, key: &(QueueName, Bound)) -> Result<u64, ApiError> {
        let _turn = self.asking.lock().await;
        if let Some(left) = self.take(key) {
            return Ok(left);
        }
        let left = match key.1 {
            Bound::Results => self.results_left(queue).await?,
            Bound::Scheduled => self.scheduled_left(queue).await?,
        };
        self.told().insert(key.clone(), Told { at: Instant::now(), left: left.saturating_sub(1) });
        Ok(left)
    }

    /// How much room there was a moment ago, less what was let in since; and lets one in.
    fn take(&self, key: &(QueueName, Bound)) -> Option<u64> {
        let mut told = self.told();
        let told = told.get_mut(key).filter(|told| told.at.elapsed() < COUNTS_FRESH)?;
        let left = told.left;
        told.left = left.saturating_sub(1);
        Some(left)
    }

    /// Nothing under this lock can be left half done.
    fn told(&self) -> MutexGuard<'_, HashMap<(QueueName, Bound), Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn scheduled_left(&self, queue: &Queue) -> Result<u64, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.delay_stream(&queue.name)).await?;
        Ok(u64::try_from(queue.settings.scheduled_max).unwrap_or(0).saturating_sub(state.messages))
    }

    /// Results are dropped oldest first; where that would drop one that somebody may still come for, nothing more is
    /// taken.
    async fn results_left(&self, queue: &Queue) -> Result<u64, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.results_stream(&queue.name)).await?;
        let max = u64::try_from(queue.settings.results_bytes_max).unwrap_or(0);
        let nearly_full = state.bytes >= max / 10 * 9;
        let oldest_ms = state.first_ms().unwrap_or(0);
        let young = now_ms() - oldest_ms < i64::try_from(RETENTION_MIN.as_millis()).unwrap_or(i64::MAX);
        Ok(if nearly_full && young { 0 } else { u64::MAX })
    }
}

fn full(queue: &Queue, bound: Bound) -> ApiError {
    let (name, settings) = (&queue.name, &queue.settings);
    let detail = match bound {
        Bound::Scheduled => format!("the queue {name} has its {} scheduled tasks", settings.scheduled_max),
        Bound::Results => {
            let max = settings.results_bytes_max;
            format!("the results of {name} fill their {max} bytes, and none is older than 10 minutes")
        }
    };
    ApiError::new(Code::QueueFull, detail).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS)
}
