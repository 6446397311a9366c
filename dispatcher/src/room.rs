//! Whether a queue has room: the bounds that its streams cannot keep themselves (rule 18).
//!
//! A stream with schedules cannot refuse, and one with results drops its oldest instead of refusing; so both are asked
//! what they hold, twice a second at most. A burst between two answers may pass a bound by what arrives in that time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
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
}

/// A bound of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Results,
    Scheduled,
}

/// Why there was no room, if there was none, and when that was so.
#[derive(Debug, Clone)]
struct Told {
    at: Instant,
    full: Option<String>,
}

impl Room {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, told: Mutex::default() }
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
        let full = match self.told(&key) {
            Some(told) => told.full,
            None => {
                let full = match bound {
                    Bound::Results => self.results_full(queue).await?,
                    Bound::Scheduled => self.scheduled_full(queue).await?,
                };
                let told = Told { at: Instant::now(), full: full.clone() };
                self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key, told);
                full
            }
        };
        full.map_or(Ok(()), |why| Err(ApiError::new(Code::QueueFull, why).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS)))
    }

    fn told(&self, key: &(QueueName, Bound)) -> Option<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(key).filter(|told| told.at.elapsed() < COUNTS_FRESH).cloned()
    }

    async fn scheduled_full(&self, queue: &Queue) -> Result<Option<String>, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.delay_stream(&queue.name)).await?;
        let max = u64::try_from(queue.settings.scheduled_max).unwrap_or(0);
        let full = state.messages >= max;
        Ok(full.then(|| format!("the queue {} has {} scheduled tasks; the limit is {max}", queue.name, state.messages)))
    }

    /// Results are dropped oldest first; where that would drop one that somebody may still come for, nothing more is
    /// taken.
    async fn results_full(&self, queue: &Queue) -> Result<Option<String>, ApiError> {
        let state = ask::stream(&self.broker, &self.broker.names.results_stream(&queue.name)).await?;
        let max = u64::try_from(queue.settings.results_bytes_max).unwrap_or(0);
        let nearly_full = state.bytes >= max / 10 * 9;
        let oldest_ms = state.first_ms().unwrap_or(0);
        let young = now_ms() - oldest_ms < i64::try_from(RETENTION_MIN.as_millis()).unwrap_or(i64::MAX);
        Ok((nearly_full && young)
            .then(|| format!("the results of {} fill their {max} bytes and none is older than 10 minutes", queue.name)))
    }
}
