//! What runs and waits: the work queue and the delay stream, forwards.
//!
//! A page's copies are looked at together: one question for all their events, one for all their results. So the state
//! that a list shows is the one that a look at each task would show, at the price of two questions for a read.

use std::collections::{HashMap, HashSet};

use futures::future::try_join;
use prost::Message as _;
use workfleet_link::batch::{self, Range};
use workfleet_link::read::{ReadError, StoredMessage};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::DelayPart;
use workfleet_proto::v1::{self, State};

use super::Stop;
use super::cursor::Place;
use super::page::Page;
use super::stage::Stage;
use super::wanted::Wanted;
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::limits::LIST_READ_BYTES_MAX;
use crate::state::{self, Heard, Place as Where, Waiting, told};

/// A copy that may be in the list.
struct Candidate {
    id: TaskId,
    sequence: u64,
    bytes: usize,
    copy: Waiting,
}

/// What else is known of a read's tasks.
struct Known {
    heard: HashMap<String, Heard>,
    ended: HashSet<String>,
    /// What it took to learn the one or the other, whichever took more.
    questions: usize,
}

impl Inner {
    /// Reads on until the stage is through or the page spent.
    pub(super) async fn list_waiting(
        &self,
        queue: &Queue,
        wanted: &Wanted,
        from: Place,
        page: &mut Page,
    ) -> Result<Stop, ApiError> {
        let mut place = if from.sequence == 0 { self.beginning(queue, wanted, from.stage).await? } else { from };
        let stream = match place.stage {
            Stage::Queue => self.broker.names.tasks_stream(&queue.name),
            _ => self.broker.names.delay_stream(&queue.name),
        };
        let filter = match place.stage {
            Stage::Due => Some(self.broker.names.delay_all(DelayPart::Due, &queue.name)),
            _ => None,
        };
        while place.sequence < place.extent {
            if page.is_spent() {
                return Ok(Stop::At(place));
            }
            let range = Range {
                from: place.sequence,
                filter: filter.as_deref(),
                messages_max: page.read(wanted),
                bytes_max: LIST_READ_BYTES_MAX,
            };
            let batch = batch::range(&self.broker, &stream, range).await?;
            let Some(last) = batch.messages.last().map(|message| message.sequence) else { return Ok(Stop::Through) };
            let mut candidates = candidates(batch.messages, wanted);
            candidates.retain(|candidate| candidate.sequence < place.extent);
            if let Some(sequence) = self.take(queue, wanted, candidates, page).await? {
                return Ok(Stop::At(Place { sequence, ..place }));
            }
            if batch.pending == 0 {
                return Ok(Stop::Through);
            }
            place.sequence = last + 1;
        }
        Ok(Stop::Through)
    }

    /// Takes candidates into the page; gives the sequence of the first that has no room.
    async fn take(
        &self,
        queue: &Queue,
        wanted: &Wanted,
        candidates: Vec<Candidate>,
        page: &mut Page,
    ) -> Result<Option<u64>, ApiError> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let known = self.known_of(queue, &candidates).await?;
        page.asked(known.questions);
        for Candidate { id, sequence, bytes, copy } in candidates {
            if page.is_full() {
                return Ok(Some(sequence));
            }
            // Its result is stored, and the copy is about to go: it is listed among the ended ones.
            if known.ended.contains(id.as_str()) {
                continue;
            }
            let view = state::combine(queue, &id, &copy, known.heard.get(id.as_str()), now_ms());
            if wanted.takes(&view) {
                page.push(view, bytes);
            }
        }
        Ok(None)
    }

    /// The latest events, and which have ended.
    async fn known_of(&self, queue: &Queue, candidates: &[Candidate]) -> Result<Known, ApiError> {
        let names = &self.broker.names;
        let subjects = |subject: &dyn Fn(&TaskId) -> String| -> Vec<String> {
            candidates.iter().map(|candidate| subject(&candidate.id)).collect()
        };
        let (events, results) = (subjects(&|id| names.event(id)), subjects(&|id| names.result(id)));
        let (events_stream, results_stream) = (names.events_stream(&queue.name), names.results_stream(&queue.name));
        let (mut heard, mut ended) = (HashMap::new(), HashSet::new());
        let hear = |stored: StoredMessage| {
            if let Some(event) = told(stored.payload) {
                heard.insert(event.id.clone(), Heard { at_ms: stored.time_ms, event });
            }
        };
        // A result may have a large output, so none is kept.
        let end = |stored: StoredMessage| {
            let result = v1::Result::decode(stored.payload).ok().filter(|result| result.state().is_end());
            ended.extend(result.map(|result| result.id));
        };
        let hearing = batch::last_on_subjects(&self.broker, &events_stream, &events, LIST_READ_BYTES_MAX, hear);
        let ending = batch::last_on_subjects(&self.broker, &results_stream, &results, LIST_READ_BYTES_MAX, end);
        // A stream in memory is gone with its server until it is made again; so are its events.
        let hearing = async {
            match hearing.await {
                Err(ReadError::NoStream { .. }) => Ok(0),
                hearing => hearing,
            }
        };
        let (of_events, of_results) = try_join(hearing, ending).await?;
        Ok(Known { heard, ended, questions: of_events.max(of_results) })
    }

    /// Where a stage begins and ends: what comes in later belongs to a later list.
    async fn beginning(&self, queue: &Queue, wanted: &Wanted, stage: Stage) -> Result<Place, ApiError> {
        let names = &self.broker.names;
        let (sequence, extent) = match stage {
            Stage::Queue => self.bounds(&names.tasks_stream(&queue.name)).await?,
            _ => self.bounds(&names.delay_stream(&queue.name)).await?,
        };
        if wanted.state != Some(State::Running) {
            return Ok(Place { stage, sequence, extent });
        }
        // What no worker was ever given does not run.
        let mut delivered = 0;
        for lane in &queue.lanes {
            let consumer = names.work_consumer(*lane);
            let state = ask::consumer(&self.broker, &names.tasks_stream(&queue.name), &consumer).await?;
            delivered = delivered.max(state.delivered.stream_seq);
        }
        Ok(Place { stage, sequence, extent: extent.min(delivered + 1) })
    }
}

/// The copies that may be in the list. What cannot be read was not written by us, and is nobody's task.
fn candidates(messages: Vec<StoredMessage>, wanted: &Wanted) -> Vec<Candidate> {
    messages.into_iter().filter_map(|message| candidate(&message, wanted)).collect()
}

fn candidate(message: &StoredMessage, wanted: &Wanted) -> Option<Candidate> {
    // `wf.delay.at.<q>.<id>` names no lane, `wf.delay.due` and `wf.task` do: `<q>.<b>.<lane>.<id>`.
    let mut tokens = message.subject.split('.').skip(1);
    let (place, lane) = match (tokens.next()?, tokens.next()?) {
        ("delay", "at") => (Where::Scheduled, None),
        ("delay", "due") | ("task", _) => (Where::Queue, message.subject.rsplit('.').nth(1)?.parse().ok()),
        _ => return None,
    };
    let mut copy = state::waiting(message, place, lane).ok()?;
    let id: TaskId = copy.envelope.id.parse().ok()?;
    if !wanted.has_labels(|key| copy.envelope.labels.get(key)) {
        return None;
    }
    let bytes = message.payload.len().saturating_sub(copy.envelope.payload.len());
    // It is part of what the broker sent, all of which would be kept for it.
    copy.envelope.payload.clear();
    Some(Candidate { id, sequence: message.sequence, bytes, copy })
}
