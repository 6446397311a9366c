//! Where a task is (rule 15): its result, else a fresh event, else the delay stream, else the queue.
//!
//! There is no second record of a task's state that could disagree with where the task is. The price is a handful of
//! reads for each question; a task that moves between two of them is found by a second pass.

mod combine;

pub(crate) use combine::{
    Place, Waiting, apply_event, combine, of_envelope, of_event, of_result, of_result_alone, told,
};

use prost::Message as _;
use workfleet_link::broker::NatsHeaders;
use workfleet_link::read::{self, ReadError, StoredMessage};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, Names};
use workfleet_proto::v1;
use workfleet_proto::wire::{CopyHeaders, read_envelope};

use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::marks::Mark;
use crate::view::TaskView;

/// A task that moves against the order of the reads is missed once at most.
const PASSES: usize = 3;

/// What is left of a task, for who may not act beside it.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// A copy of it waits or runs.
    Lives(Waiting),
    /// Its end is recorded.
    Ended(v1::Result),
    /// A redrive has marked it for another run, and no more is seen of it.
    Marked(Mark),
}

/// What was found of a task.
enum Seen {
    /// A copy, or its end.
    Stored(Box<TaskView>),
    /// Neither; the latest event, if there is one.
    Alone(Option<Heard>),
}

/// An event and when the server took it.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) event: v1::Event,
    pub(crate) at_ms: i64,
}

impl Inner {
    /// The task, or nothing where nobody knows it.
    pub(crate) async fn find(&self, queue: &Queue, id: &TaskId) -> Result<Option<TaskView>, ApiError> {
        let heard = match self.look(queue, id).await? {
            Seen::Stored(view) => return Ok(Some(*view)),
            Seen::Alone(heard) => heard,
        };
        // Only the event is left: the copy was taken away, and no result is stored yet.
        Ok(heard
            .filter(|heard| now_ms() - heard.at_ms < queue.settings.lease_ms)
            .map(|heard| of_event(queue, id, &heard.event)))
    }

    /// The same, where a copy of it or its end is stored. Its event alone proves neither: that outlives a purge.
    pub(crate) async fn find_stored(&self, queue: &Queue, id: &TaskId) -> Result<Option<TaskView>, ApiError> {
        match self.look(queue, id).await? {
            Seen::Stored(view) => Ok(Some(*view)),
            Seen::Alone(_) => Ok(None),
        }
    }

    async fn look(&self, queue: &Queue, id: &TaskId) -> Result<Seen, ApiError> {
        let (mut heard, mut marked) = (None, None);
        for _ in 0..PASSES {
            let result = self.read_result(queue, id).await?;
            if let Some(result) = result.as_ref().filter(|result| result.state().is_end()) {
                return Ok(Seen::Stored(Box::new(self.view_of_result(queue, result.clone()).await)));
            }
            marked = result;
            heard = self.read_event(queue, id).await?;
            if let Some(copy) = self.read_copy(queue, id, run_min(marked.as_ref())).await? {
                return Ok(Seen::Stored(Box::new(combine(queue, id, &copy, heard.as_ref(), now_ms()))));
            }
        }
        // Marked for another run, and without a copy of it: the redrive is about to publish it, or has died. Until then
        // the task is where its dead letter is.
        if let Some(mark) = marked
            && let Some(failed) = self.failed_before(id, &mark).await?
        {
            return Ok(Seen::Stored(Box::new(self.view_of_result(queue, failed).await)));
        }
        Ok(Seen::Alone(heard))
    }

    /// The same, where nothing is an error.
    pub(crate) async fn found(&self, queue: &Queue, id: &TaskId) -> Result<TaskView, ApiError> {
        self.find(queue, id).await?.ok_or_else(|| unknown_task(id))
    }

    /// What is left of the task. The reads follow its way, and what moves against them is met by the second pass; so
    /// nothing here means that there is nothing.
    pub(crate) async fn known(&self, queue: &Queue, id: &TaskId) -> Result<Option<Known>, ApiError> {
        let mut marked = self.read_result(queue, id).await?.filter(|result| !result.state().is_end());
        for _ in 0..2 {
            if let Some(copy) = self.read_copy(queue, id, run_min(marked.as_ref())).await? {
                return Ok(Some(Known::Lives(copy)));
            }
            marked = self.read_result(queue, id).await?;
            if let Some(result) = marked.take_if(|result| result.state().is_end()) {
                return Ok(Some(Known::Ended(result)));
            }
        }
        let Some(mark) = marked else { return Ok(None) };
        if let Some(failed) = self.failed_before(id, &mark).await? {
            return Ok(Some(Known::Ended(failed)));
        }
        Ok(self.mark(queue, id).await?.map(Known::Marked))
    }

    /// How the task of a mark failed before it, as its dead letter says.
    async fn failed_before(&self, id: &TaskId, mark: &v1::Result) -> Result<Option<v1::Result>, ApiError> {
        let letter = self.read_dead_letter(id).await?;
        Ok(letter.and_then(|letter| letter.result).filter(|failed| failed.run < mark.run))
    }

    /// The record of how the task ended, or that it was redriven.
    pub(crate) async fn read_result(&self, queue: &Queue, id: &TaskId) -> Result<Option<v1::Result>, ApiError> {
        let names = &self.broker.names;
        let stream = names.results_stream(&queue.name);
        let Some(stored) = read::last_on_subject(&self.broker, &stream, &names.result(id)).await? else {
            return Ok(None);
        };
        read_record(stored, id).map(Some)
    }

    /// The dead letter of a task that failed; one that cannot be read is none.
    pub(crate) async fn read_dead_letter(&self, id: &TaskId) -> Result<Option<v1::DeadLetter>, ApiError> {
        let names = &self.broker.names;
        let stored = read::last_on_subject(&self.broker, &names.dead_stream(&id.queue()), &names.dead(id)).await?;
        Ok(stored.and_then(|stored| v1::DeadLetter::decode(stored.payload).ok()))
    }

    /// A result as callers see it.
    pub(crate) async fn view_of_result(&self, queue: &Queue, result: v1::Result) -> TaskView {
        let json = match result.state() {
            // A large output is shown by the id of its blob alone.
            v1::State::Completed if result.blob.is_none() => {
                self.kinds.output_json(queue, &result.schema, &result.output).await
            }
            _ => None,
        };
        of_result(queue, result, json)
    }

    /// The latest event; one that cannot be read is none.
    pub(crate) async fn read_event(&self, queue: &Queue, id: &TaskId) -> Result<Option<Heard>, ApiError> {
        let names = &self.broker.names;
        let stream = names.events_stream(&queue.name);
        let stored = match read::last_on_subject(&self.broker, &stream, &names.event(id)).await {
            // A stream in memory is gone with its server until it is made again; so are its events.
            Err(ReadError::NoStream { .. }) => None,
            stored => stored?,
        };
        Ok(stored.and_then(|stored| Some(Heard { at_ms: stored.time_ms, event: told(stored.payload)? })))
    }

    /// The copy of the task that waits, in the order in which a copy moves. What is of an earlier run is nobody's.
    async fn read_copy(&self, queue: &Queue, id: &TaskId, run_min: u32) -> Result<Option<Waiting>, ApiError> {
        for Spot { stream, subject, place, lane } in spots(&self.broker.names, queue, id) {
            let Some(stored) = read::last_on_subject(&self.broker, &stream, &subject).await? else { continue };
            let copy = waiting(&stored, place, lane)?;
            if copy.generation.run >= run_min {
                return Ok(Some(copy));
            }
        }
        Ok(None)
    }
}

/// Where a copy of a task may wait.
pub(crate) struct Spot {
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) place: Place,
    /// Where the subject says it.
    pub(crate) lane: Option<Lane>,
}

/// All of them, in the order in which a copy moves, so that whoever looks at one after the other cannot miss it.
pub(crate) fn spots(names: &Names, queue: &Queue, id: &TaskId) -> Vec<Spot> {
    let delay = || names.delay_stream(&queue.name);
    let scheduled = Spot { stream: delay(), subject: names.delay_at(id), place: Place::Scheduled, lane: None };
    let queued = |stream, subject, lane| Spot { stream, subject, place: Place::Queue, lane: Some(lane) };
    let due = queue.lanes.iter().map(|lane| queued(delay(), names.delay_due(id, *lane), *lane));
    let waiting = queue.lanes.iter().map(|lane| queued(names.tasks_stream(&queue.name), names.task(id, *lane), *lane));
    [scheduled].into_iter().chain(due).chain(waiting).collect()
}

/// The earliest run whose copies still count: workers drop those of runs before the mark.
fn run_min(mark: Option<&v1::Result>) -> u32 {
    mark.map_or(1, |mark| mark.run)
}

/// What is recorded of a task, read.
///
/// # Errors
/// When it is no record.
pub(crate) fn read_record(stored: StoredMessage, id: &TaskId) -> Result<v1::Result, ApiError> {
    v1::Result::decode(stored.payload)
        .map_err(|error| ApiError::new(Code::Internal, format!("the result of {id} cannot be read: {error}")))
}

/// The refusal of an id that nobody knows.
pub(crate) fn unknown_task(id: &TaskId) -> ApiError {
    ApiError::new(Code::UnknownTask, format!("there is no task {id}, or its result is no longer kept"))
}

/// A stored copy, read.
///
/// # Errors
/// When it is no task.
pub(crate) fn waiting(stored: &StoredMessage, place: Place, lane: Option<Lane>) -> Result<Waiting, ApiError> {
    let wrong = |error: workfleet_proto::wire::WireError| {
        ApiError::new(Code::Internal, format!("what waits on {} is no task: {error}", stored.subject))
    };
    let headers = CopyHeaders::read(&NatsHeaders(&stored.headers)).map_err(wrong)?;
    let (_, envelope) = read_envelope(stored.payload.clone()).map_err(wrong)?;
    Ok(Waiting { place, lane, generation: headers.generation, due_ms: headers.due_ms, envelope })
}
