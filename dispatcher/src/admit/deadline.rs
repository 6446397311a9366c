//! Until when a task has to end (rule 12), and for how long each of its attempts may run.
//!
//! A deadline that has passed is refused: a task that can only expire is a mistake of whoever asks. A little of the past is
//! let through, for clocks differ, and a submit takes its time. To take every past deadline and let its task expire at once
//! would be quieter, and the mistake would be found in a list of expired tasks.

use std::time::Duration;

use workfleet_proto::limits::{DEAD_MS_MAX, INLINE_BYTES_MAX};

use super::{Given, Options, Parent, Start, options};
use crate::error::ApiError;
use crate::limits::{DEADLINE_LATE_MAX, DEADLINE_MAX};
use crate::view::UnixMs;

/// When a task has to have ended, as a caller says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// So long after it was accepted.
    In(Duration),
    /// At this time.
    At(UnixMs),
}

impl Deadline {
    /// Reads a duration, or a time.
    ///
    /// # Errors
    /// When it is neither.
    pub(super) fn read(name: &str, value: &str) -> Result<Self, ApiError> {
        if let Ok(time) = humantime::parse_duration(value) {
            return Ok(Self::In(time));
        }
        options::time(name, value).map(Self::At).map_err(|error| {
            let detail = format!("neither a duration, as 10m, nor a time: {}", error.detail);
            ApiError::invalid_option(name, detail)
        })
    }

    fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::In(time) => now_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
            Self::At(UnixMs(at_ms)) => at_ms,
        }
    }
}

/// The deadline in force, milliseconds since the Unix epoch: its own or its parent's, whichever is sooner.
///
/// What is inherited is not checked. The handler that submits did not choose it, and whether a child just before the end
/// of its parent is refused or expires would depend on a millisecond.
pub(super) fn in_force(
    asked: &Options,
    parent: Option<&Parent>,
    start: Start,
    bytes: usize,
    given: &Given<'_>,
) -> Result<Option<i64>, ApiError> {
    let own = asked.deadline.map(|deadline| check(deadline.at_ms(given.now_ms), start, bytes, given)).transpose()?;
    let inherited = parent.and_then(|parent| parent.deadline_ms);
    Ok(own.into_iter().chain(inherited).min())
}

/// The deadline of a task that is redriven now: the one that is asked for, or else its old one, unless that has passed.
pub(crate) fn in_force_again(
    asked: Option<Deadline>,
    before_ms: Option<i64>,
    bytes: usize,
    given: &Given<'_>,
) -> Result<Option<i64>, ApiError> {
    match asked {
        Some(deadline) => check(deadline.at_ms(given.now_ms), Start::Now, bytes, given).map(Some),
        None => Ok(before_ms.filter(|at_ms| *at_ms > given.now_ms)),
    }
}

fn check(at_ms: i64, start: Start, bytes: usize, given: &Given<'_>) -> Result<i64, ApiError> {
    let refused = |detail: String| Err(ApiError::invalid_option("deadline", detail));
    let left_ms = at_ms.saturating_sub(given.now_ms);
    if left_ms < -whole_ms(DEADLINE_LATE_MAX) {
        return refused("the deadline has passed; the task could only expire".to_owned());
    }
    if let Start::At(start_ms) = start
        && at_ms <= start_ms
    {
        return refused("the deadline is not after the start (delay, at); the task could only expire".to_owned());
    }
    if left_ms > whole_ms(DEADLINE_MAX) {
        let days = DEADLINE_MAX.as_secs() / 86_400;
        return refused(format!("a deadline can be {days} days from now at the latest"));
    }
    // A large payload is in a store that drops what is old, and a dead letter must still have it.
    let store_ms = (given.settings.blobs_age_ms - DEAD_MS_MAX).max(0);
    if bytes > INLINE_BYTES_MAX && left_ms > store_ms {
        let days = store_ms / (24 * 3_600_000);
        let detail = format!(
            "the payload of {bytes} bytes is kept for less: the deadline of such a task can be {days} days from now at \
             the latest (blobs_age of the queue)"
        );
        return refused(detail);
    }
    Ok(at_ms)
}

/// The longest time of one attempt. A task may have less than its queue allows, never more: workers and their leases are
/// planned for that.
pub(super) fn timeout_ms(asked: &Options, given: &Given<'_>) -> Result<i64, ApiError> {
    let max_ms = given.settings.timeout_ms;
    match asked.timeout.map(whole_ms) {
        None => Ok(max_ms),
        Some(ms) if (1..=max_ms).contains(&ms) => Ok(ms),
        Some(ms) => {
            let detail = format!("timeout is {ms} ms, but must be from 1 ms to the queue's timeout, {max_ms} ms");
            Err(ApiError::invalid_option("timeout", detail))
        }
    }
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "deadline_tests.rs"]
mod tests;
