//! What has ended: results and dead letters, backwards.

use std::collections::HashSet;

use prost::Message as _;
use workfleet_link::batch;
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
use crate::limits::LIST_READ_BYTES_MAX;
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
        let (first, mut place) = self.backwards_from(&stream, from).await?;
        while place.sequence > first {
            if page.is_spent() {
                return Ok(Stop::At(place));
            }
            let (messages, next) = self.window_before(&stream, first, place, page.read(wanted)).await?;
            let Some(messages) = messages else {
                place = next;
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
            place = next;
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
