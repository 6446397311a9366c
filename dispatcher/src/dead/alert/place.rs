//! The places of a minute.

use std::time::Duration;

use workfleet_link::batch::{self, Range};
use workfleet_link::time::now_ms;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::DeadAlert;

use super::say;
use crate::admit::{Options, Payload, Submit};
use crate::ask;
use crate::dead::letter::Letter;
use crate::dispatcher::Dispatcher;
use crate::error::{ApiError, Code};

const MINUTE_MS: i64 = 60_000;
/// A letter that is stored so long after its task failed may be a repeat: one within two minutes of another is not stored. As
/// far as clocks are in step.
const LATE_MS: u64 = 60_000;
/// How long after its end a minute is summed up: letters of it may be on their way from other dispatchers.
const SUMMARY_LATE_MS: i64 = 5_000;

/// What became of a letter.
pub(super) enum Told {
    /// Somebody is told of it, or will be by another letter of its minute.
    Told,
    /// Once its minute is over.
    Later(Duration),
}

/// What this dispatcher knows of the minute that it saw last. It saves questions and decides nothing.
#[derive(Debug, Default)]
pub(super) struct Places {
    minute: i64,
    /// Places before this one are taken.
    next: u32,
    /// Whether a letter waits to bring the sum of this minute.
    is_carried: bool,
}

impl Places {
    pub(super) async fn tell(
        &mut self,
        dispatcher: &Dispatcher,
        queue: &QueueName,
        alert: &DeadAlert,
        letter: &Letter,
        is_new: bool,
    ) -> Result<Told, ApiError> {
        let died_in = letter.dead_at_ms.div_euclid(MINUTE_MS);
        let is_late = letter.stored_at_ms.abs_diff(letter.dead_at_ms) >= LATE_MS;
        // It may have been stored before, and told of in the minute in which it died.
        if is_late && take(dispatcher, queue, alert, letter, died_in, 0).await?.is_some() {
            return Ok(Told::Told);
        }
        let minute = if is_late { letter.stored_at_ms.div_euclid(MINUTE_MS) } else { died_in };
        if minute != self.minute {
            *self = Self { minute, ..Self::default() };
        }
        // One that was delivered before may have its place already.
        let first = if is_new { self.next } else { 0 };
        if let Some(place) = take(dispatcher, queue, alert, letter, minute, first).await? {
            self.next = self.next.max(place + 1);
            return Ok(Told::Told);
        }
        self.next = alert.per_minute;
        let left_ms = (minute + 1) * MINUTE_MS + SUMMARY_LATE_MS - now_ms();
        if left_ms <= 0 {
            return self.sum_up(dispatcher, queue, alert, letter).await;
        }
        if is_new && self.is_carried {
            return Ok(Told::Told);
        }
        self.is_carried = true;
        Ok(Told::Later(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))))
    }

    /// Tells of how many had no place: `letter` and those of its minute behind it.
    async fn sum_up(
        &self,
        dispatcher: &Dispatcher,
        queue: &QueueName,
        alert: &DeadAlert,
        letter: &Letter,
    ) -> Result<Told, ApiError> {
        let end_ms = (self.minute + 1) * MINUTE_MS;
        let behind = first_at(dispatcher, queue, letter.sequence + 1, end_ms).await?;
        let more = behind.saturating_sub(letter.sequence);
        let key = format!("dead/{queue}/{}/more", self.minute);
        match submit(dispatcher, alert, &key, say::more(queue, alert, self.minute * MINUTE_MS, more)).await {
            // Another dispatcher was quicker, and counted for itself.
            Err(error) if error.code != Code::Conflict => Err(error),
            Ok(()) | Err(_) => Ok(Told::Told),
        }
    }
}

/// Takes the first free place of the minute from `first` on, or finds the letter's own; nothing where others have them all.
async fn take(
    dispatcher: &Dispatcher,
    queue: &QueueName,
    alert: &DeadAlert,
    letter: &Letter,
    minute: i64,
    first: u32,
) -> Result<Option<u32>, ApiError> {
    for place in first..alert.per_minute {
        let key = format!("dead/{queue}/{minute}/{place}");
        match submit(dispatcher, alert, &key, say::letter(queue, alert, letter)).await {
            Ok(()) => return Ok(Some(place)),
            Err(error) if error.code == Code::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The first sequence from `low` on that is not before `time_ms`. Each letter has one, whether it is still there or not, so
/// that two of them say how many there were in between.
async fn first_at(dispatcher: &Dispatcher, queue: &QueueName, low: u64, time_ms: i64) -> Result<u64, ApiError> {
    let broker = dispatcher.broker();
    let stream = broker.names.dead_stream(queue);
    let (mut low, mut high) = (low, ask::stream(broker, &stream).await?.last_seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let range = Range { from: middle, filter: None, messages_max: 1, bytes_max: 1 };
        match batch::range(broker, &stream, range).await?.messages.first() {
            Some(there) if there.time_ms < time_ms => low = there.sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

async fn submit(dispatcher: &Dispatcher, alert: &DeadAlert, key: &str, payload: String) -> Result<(), ApiError> {
    let submit = Submit {
        queue: alert.queue.clone(),
        payload: Payload::Json(payload.into()),
        idempotency_key: Some(key.to_owned()),
        wait: None,
        options: Options::default(),
    };
    dispatcher.submit(submit).await.map(|_| ())
}
