//! What is known of a task, put together. Pure.

use bytes::Bytes;
use prost::Message as _;
use serde_json::value::RawValue;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::Lane;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{self, State};

use super::Heard;
use crate::kinds::Queue;
use crate::view::{AttemptView, Cursor, FailureView, Position, StateWord, TaskView, UnixMs};

/// A copy of a task that waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    /// Unknown for a schedule, whose subject does not name it.
    pub(crate) lane: Option<Lane>,
    pub(crate) generation: Generation,
    pub(crate) due_ms: i64,
    pub(crate) envelope: v1::Envelope,
}

/// Where the copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the delay stream; its time has not come.
    Scheduled,
    /// In the queue, or on the way into it; a worker may hold it.
    Queue,
}

/// An event as a worker of ours tells one: a task runs, or will be tried again. Any other state is a result's to say, and a
/// state that nobody knows would be a word that no reader of a task knows.
pub(crate) fn told(payload: Bytes) -> Option<v1::Event> {
    let event = v1::Event::decode(payload).ok()?;
    matches!(event.state(), State::Running | State::Retrying).then_some(event)
}

/// A copy and the latest event.
pub(crate) fn combine(queue: &Queue, id: &TaskId, copy: &Waiting, heard: Option<&Heard>, now_ms: i64) -> TaskView {
    let mut view = of_envelope(queue, id, &copy.envelope, copy.lane);
    // Attempts before the one that this copy is for.
    view.attempt = copy.generation.attempt.saturating_sub(1);
    let same_run = heard.filter(|heard| heard.event.run == copy.generation.run);
    match copy.place {
        Place::Scheduled if view.attempt == 0 => view.state = StateWord(State::Scheduled),
        Place::Scheduled => {
            view.state = StateWord(State::Retrying);
            view.not_before = Some(UnixMs(copy.due_ms));
            view.cursor = retry_cursor(copy.generation, same_run);
        }
        Place::Queue => queued(&mut view, queue, copy, same_run, now_ms),
    }
    view
}

/// In the queue: held by a worker, if it said so within its lease; else waiting.
fn queued(view: &mut TaskView, queue: &Queue, copy: &Waiting, heard: Option<&Heard>, now_ms: i64) {
    let generation = copy.generation;
    view.state = StateWord(State::Queued);
    if generation != Generation::FIRST {
        view.cursor =
            Cursor { run: generation.run, attempt: generation.attempt, position: Position::Event(generation.back) };
    }
    // An event of an earlier attempt says nothing about this copy.
    let Some(heard) = heard.filter(|heard| heard.event.attempt >= generation.attempt) else { return };
    if now_ms - heard.at_ms < queue.settings.lease_ms {
        apply_event(view, &heard.event);
    } else {
        // The worker fell silent: the task waits to be delivered again, and this attempt was spent.
        view.attempt = heard.event.attempt;
        view.cursor = view.cursor.max(event_cursor(&heard.event));
    }
}

/// A retry that waits: at the event that announced it, or past everything that its attempt said.
fn retry_cursor(generation: Generation, heard: Option<&Heard>) -> Cursor {
    let attempt = generation.attempt.saturating_sub(1);
    let announced = heard.filter(|heard| heard.event.attempt == attempt && heard.event.state() == State::Retrying);
    let position = announced.map_or(u32::MAX, |heard| heard.event.sequence);
    Cursor { run: generation.run, attempt, position: Position::Event(position) }
}

fn event_cursor(event: &v1::Event) -> Cursor {
    Cursor { run: event.run, attempt: event.attempt, position: Position::Event(event.sequence) }
}

/// What an event changes.
pub(crate) fn apply_event(view: &mut TaskView, event: &v1::Event) {
    view.state = StateWord(event.state());
    view.attempt = event.attempt;
    view.started_at = (event.started_at_ms > 0).then_some(UnixMs(event.started_at_ms));
    // An attempt that has ended makes no progress.
    view.progress = event.progress.clone().filter(|_| event.state() == State::Running).map(Into::into);
    view.cursor = event_cursor(event);
    view.ended_at = None;
    if !event.children.is_empty() {
        view.children.clone_from(&event.children);
    }
    if let Some(at_ms) = event.next_attempt_at_ms {
        view.not_before = Some(UnixMs(at_ms));
    }
    if let Some(failure) = event.failure.clone() {
        let ended = AttemptView {
            attempt: event.attempt,
            started_at: Some(UnixMs(event.started_at_ms)),
            ended_at: Some(UnixMs(event.at_ms)),
            worker: Some(event.worker.clone()),
            code: failure.code.clone(),
            message: failure.message.clone(),
        };
        if view.attempts.last().is_none_or(|last| last.attempt < ended.attempt) {
            view.attempts.push(ended);
        }
        view.failure = Some(FailureView::of(failure, &view.attempts));
    }
}

/// A task of which only an event is left.
pub(crate) fn of_event(queue: &Queue, id: &TaskId, event: &v1::Event) -> TaskView {
    let mut view = empty(queue, id);
    apply_event(&mut view, event);
    view
}

/// A task as it was submitted, before any attempt.
pub(crate) fn of_envelope(queue: &Queue, id: &TaskId, envelope: &v1::Envelope, lane: Option<Lane>) -> TaskView {
    let attempts: Vec<AttemptView> = envelope.attempts.iter().cloned().map(Into::into).collect();
    // What the last attempt failed with is why there is another.
    let failure = attempts.last().map(|last| FailureView {
        code: last.code.clone(),
        message: last.message.clone(),
        attempts: attempts.clone(),
    });
    TaskView {
        attempts_max: envelope.attempts_max,
        priority: lane.filter(|_| queue.lanes.len() > 1).map(|lane| lane.to_string()),
        submitted_at: Some(UnixMs(envelope.submitted_at_ms)),
        not_before: envelope.not_before_ms.map(UnixMs),
        deadline: envelope.deadline_ms.map(UnixMs),
        failure,
        trace_id: Some(envelope.trace_id.clone()).filter(|id| !id.is_empty()),
        parent_id: envelope.parent_id.clone(),
        children: envelope.children.clone(),
        labels: envelope.labels.clone().into_iter().collect(),
        ordering_key: envelope.ordering_key.clone(),
        tenant: envelope.tenant.clone(),
        attempts,
        ..empty(queue, id)
    }
}

/// A task that has ended.
pub(crate) fn of_result(queue: &Queue, result: v1::Result, output: Option<Box<RawValue>>) -> TaskView {
    let state = result.state();
    let attempts: Vec<AttemptView> = result.attempts.into_iter().map(Into::into).collect();
    let failure = result.failure.filter(|_| state != State::Completed);
    TaskView {
        id: result.id,
        queue: queue.name.to_string(),
        state: StateWord(state),
        attempt: result.attempt,
        attempts_max: result.attempts_max,
        priority: Some(result.lane).filter(|lane| !lane.is_empty() && queue.lanes.len() > 1),
        submitted_at: Some(UnixMs(result.submitted_at_ms)),
        not_before: result.not_before_ms.map(UnixMs),
        started_at: result.started_at_ms.map(UnixMs),
        ended_at: Some(UnixMs(result.ended_at_ms)),
        deadline: result.deadline_ms.map(UnixMs),
        progress: None,
        output,
        output_blob: result.blob.as_ref().map(|blob| format!("{}_{}", queue.name, blob.name)),
        failure: failure.map(|failure| FailureView::of(failure, &attempts)),
        trace_id: Some(result.trace_id).filter(|id| !id.is_empty()),
        parent_id: result.parent_id,
        children: result.children,
        labels: result.labels.into_iter().collect(),
        ordering_key: result.ordering_key,
        tenant: result.tenant,
        output_bytes: (state == State::Completed && result.blob.is_none()).then_some(result.output),
        attempts,
        cursor: Cursor { run: result.run, attempt: result.attempt, position: Position::End },
    }
}

/// The same without its output, which a list does not show.
pub(crate) fn of_result_alone(queue: &Queue, result: v1::Result) -> TaskView {
    TaskView { output_bytes: None, ..of_result(queue, result, None) }
}

fn empty(queue: &Queue, id: &TaskId) -> TaskView {
    TaskView {
        id: id.to_string(),
        queue: queue.name.to_string(),
        state: StateWord(State::Queued),
        attempt: 0,
        attempts_max: queue.settings.attempts_max,
        priority: None,
        submitted_at: None,
        not_before: None,
        started_at: None,
        ended_at: None,
        deadline: None,
        progress: None,
        output: None,
        output_blob: None,
        failure: None,
        trace_id: None,
        parent_id: None,
        children: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        ordering_key: None,
        tenant: None,
        output_bytes: None,
        attempts: Vec::new(),
        cursor: Cursor::START,
    }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
