//! What has ended: results and dead letters, backwards.
//!
//! A stream is only ever read forwards, so it is taken in windows of sequences, the last one first. A window is as wide
//! as was right for the one before it: it is halved where more lies in it than one read gives, and doubled else. So gaps
//! of any size (keys, deleted records) are passed in a few reads.

use std::collections::HashSet;

use prost::Message as _;
use workfleet_link::batch::{self, Batch, Range};
use workfleet_link::read::StoredMessage;
use workfleet_proto::v1::{self, State};

use super::Stop;
use super::cursor::Place;
use super::page::Page;
use super::stage::Stage;
use super::wanted::Wanted;
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::limits::{LIST_READ_BYTES_MAX, LIST_READ_MESSAGES_MAX};
use crate::state;

/// A record of an end that may be in the list.
struct Candidate {
    sequence: u64,
    bytes: usize,
    result: v1::Result,
}

impl Inner {
    /// Reads on until the stage is through or the page spent.
    pub(super) async fn list_ended(
        &self,
        queue: &Queue,
        wanted: &Wanted,
        from: Place,
        page: &mut Page,
    ) -> Result<Stop, ApiError> {
        let names = &self.broker.names;
        let stream = match from.stage {
            Stage::Dead => names.dead_stream(&queue.name),
            _ => names.results_stream(&queue.name),
        };
        let (first, end) = self.bounds(&stream).await?;
        let mut place = from;
        place.sequence = if from.sequence == 0 { end } else { from.sequence.min(end) };
        while place.sequence > first {
            if page.is_spent() {
                return Ok(Stop::At(place));
            }
            let ask = page.read(wanted);
            let width = if place.extent == 0 { ask as u64 } else { place.extent };
            let window = Window { from: place.sequence.saturating_sub(width).max(first), end: place.sequence };
            let range = Range {
                from: window.from,
                filter: None,
                messages_max: LIST_READ_MESSAGES_MAX.min(usize::try_from(width).unwrap_or(usize::MAX)),
                bytes_max: LIST_READ_BYTES_MAX,
            };
            let batch = batch::range(&self.broker, &stream, range).await?;
            let Some(messages) = window.whole(batch) else {
                place.extent = (window.end - window.from).div_ceil(2).max(1);
                continue;
            };
            let mut candidates: Vec<Candidate> =
                messages.iter().rev().filter_map(|message| candidate(message, place.stage, wanted)).collect();
            page.asked(self.retain_true(queue, wanted, place.stage, &mut candidates).await?);
            for Candidate { sequence, bytes, result } in candidates {
                if page.is_full() {
                    return Ok(Stop::At(Place { sequence: sequence + 1, ..place }));
                }
                page.push(state::of_result_alone(queue, result), bytes);
            }
            place = Place { sequence: window.from, extent: width.saturating_mul(2), ..place };
        }
        Ok(Stop::Through)
    }

    /// Leaves out what another record knows better: a dead letter whose task was redriven, and, in a list of failed
    /// tasks, a result that the dead letter has shown already. Gives how many questions that took.
    async fn retain_true(
        &self,
        queue: &Queue,
        wanted: &Wanted,
        stage: Stage,
        candidates: &mut Vec<Candidate>,
    ) -> Result<usize, ApiError> {
        let names = &self.broker.names;
        let failed = wanted.state == Some(State::Failed);
        if candidates.is_empty() || !failed {
            return Ok(0);
        }
        let ids = candidates.iter().filter_map(|candidate| candidate.result.id.parse().ok());
        let (stream, subjects): (String, Vec<String>) = match stage {
            Stage::Dead => (names.results_stream(&queue.name), ids.map(|id| names.result(&id)).collect()),
            _ => (names.dead_stream(&queue.name), ids.map(|id| names.dead(&id)).collect()),
        };
        // Of records that may be large, no more is kept than which task is not to be shown.
        let mut untrue = HashSet::new();
        let look = |other: StoredMessage| {
            let is_true = match stage {
                // A letter outlives its result; one whose result says otherwise is about to go.
                Stage::Dead => v1::Result::decode(other.payload).is_ok_and(|result| result.state() == State::Failed),
                _ => false,
            };
            if let (false, Some(id)) = (is_true, other.subject.rsplit('.').next()) {
                untrue.insert(id.to_owned());
            }
        };
        let questions = batch::last_on_subjects(&self.broker, &stream, &subjects, LIST_READ_BYTES_MAX, look).await?;
        candidates.retain(|candidate| !untrue.contains(&candidate.result.id));
        Ok(questions)
    }
}

/// A range of sequences, the end not included.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: u64,
    end: u64,
}

impl Window {
    /// What lies in the window; `None`: there is more in it than was read.
    fn whole(self, batch: Batch) -> Option<Vec<StoredMessage>> {
        let last = batch.messages.last().map_or(u64::MAX, |message| message.sequence);
        let is_whole = batch.pending == 0 || last >= self.end - 1;
        let inside = batch.messages.into_iter().filter(|message| message.sequence < self.end);
        is_whole.then(|| inside.collect())
    }
}

/// The end that a message records, if it may be in the list. Keys and marks of redrives are no ends, and what cannot be
/// read was not written by us.
fn candidate(message: &StoredMessage, stage: Stage, wanted: &Wanted) -> Option<Candidate> {
    let mut result = match stage {
        Stage::Dead => v1::DeadLetter::decode(message.payload.clone()).ok()?.result?,
        _ if message.subject.split('.').nth(1) == Some("result") => v1::Result::decode(message.payload.clone()).ok()?,
        _ => return None,
    };
    let is_wanted = result.state().is_end() && wanted.state.is_none_or(|state| result.state() == state);
    if !is_wanted || !wanted.has_labels(|key| result.labels.get(key)) {
        return None;
    }
    // It is part of what the broker sent, all of which would be kept for it.
    result.output.clear();
    Some(Candidate { sequence: message.sequence, bytes: result.encoded_len(), result })
}

#[cfg(test)]
mod tests {
    use super::{Batch, StoredMessage, Window};
    use async_nats::HeaderMap;

    fn batch(sequences: &[u64], pending: u64) -> Batch {
        let message = |sequence: &u64| StoredMessage {
            subject: "a".to_owned(),
            sequence: *sequence,
            time_ms: 0,
            headers: HeaderMap::new(),
            payload: bytes::Bytes::new(),
        };
        Batch { messages: sequences.iter().map(message).collect(), pending }
    }

    fn whole(sequences: &[u64], pending: u64) -> Option<Vec<u64>> {
        let whole = Window { from: 10, end: 20 }.whole(batch(sequences, pending));
        whole.map(|messages| messages.iter().map(|message| message.sequence).collect())
    }

    #[test]
    fn a_window_is_whole_when_nothing_of_it_can_be_missing() {
        assert_eq!(whole(&[], 0), Some(vec![]));
        assert_eq!(whole(&[10, 15], 0), Some(vec![10, 15]));
        assert_eq!(whole(&[10, 19], 7), Some(vec![10, 19]));
        assert_eq!(whole(&[10, 20, 21], 7), Some(vec![10]));
        assert_eq!(whole(&[10, 18], 1), None, "19 may be the next");
    }
}
