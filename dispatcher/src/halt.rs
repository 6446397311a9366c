//! A task is ended from outside its worker (rules 11 and 12): walks [`Halt`] with real reads, writes and purges.
//!
//! What comes next is decided in the contract, where the model explores it; here is only how each step is taken. A step
//! that nobody answers ends the walk with an error, and the same halt can be begun again: it goes on where the record says
//! that it stands. To go on with the other steps instead was the alternative, and then an answer would say "cancelled" of a
//! task that still waits in its queue.

mod find;
mod record;
mod tell;

use bytes::Bytes;
use prost::Message as _;
use workfleet_link::blobs;
use workfleet_link::pipeline::{Publish, PublishError};
use workfleet_link::read;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::blob::{BlobId, Owner};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::Lane;
use workfleet_proto::settlement::{Cause, Existence, Halt, HaltReply, HaltStep, Halted, Recorded};
use workfleet_proto::v1;

use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::limits::{HALT_COPIES_MAX, HALT_DISCARD_TIME_MAX, HALT_STEPS_MAX, HALT_UNCLEAR_MAX, HALT_UNCLEAR_PAUSE};
use crate::spans::{self, Span};
use find::{Found, Look};
use record::End;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Halting {
    pub(crate) cause: Cause,
    /// The deadline that has passed: a task with another one is not meant.
    pub(crate) deadline_ms: Option<i64>,
    /// For people; may be empty.
    pub(crate) reason: String,
    pub(crate) telling: Telling,
}

/// How the workers hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// They are asked, and counted.
    Asking,
    /// They are told, and nobody waits for them: they know deadlines by themselves.
    Passing,
    /// Whoever asks for the halt tells them, of many tasks at once.
    Later,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) halted: Halted,
    /// Whether this halt has recorded the end, as far as can be known: an earlier one may have.
    pub(crate) is_new: bool,
    /// Whether a handler held it when its end was recorded.
    pub(crate) is_held: bool,
    /// Workers that have not confirmed in time.
    pub(crate) workers_unanswered: u32,
}

impl Inner {
    /// Ends a task, or finds that it cannot be ended.
    ///
    /// # Errors
    /// When the broker does not answer. The end may be recorded by then; the same halt again goes on from there.
    pub(crate) async fn halt(&self, queue: &Queue, id: &TaskId, halting: &Halting) -> Result<Outcome, ApiError> {
        let span = spans::halt(operation(halting.cause), &queue.name, id);
        let walk = Walk {
            inner: self,
            queue,
            id,
            halting,
            span: &span,
            record: None,
            found: None,
            is_new: false,
            is_held: false,
            workers_unanswered: 0,
        };
        let outcome = walk.run().await;
        span.end(outcome.as_ref().map(|_| ()));
        outcome
    }
}

fn operation(cause: Cause) -> &'static str {
    match cause {
        Cause::Cancelled => "cancel",
        Cause::Expired => "expire",
    }
}

/// A halt under way.
struct Walk<'a> {
    inner: &'a Inner,
    queue: &'a Queue,
    id: &'a TaskId,
    halting: &'a Halting,
    span: &'a Span,
    /// As it was last read.
    record: Option<v1::Result>,
    /// As it was last found.
    found: Option<Found>,
    is_new: bool,
    is_held: bool,
    workers_unanswered: u32,
}

impl Walk<'_> {
    async fn run(mut self) -> Result<Outcome, ApiError> {
        let mut halt = Halt::new(self.halting.cause);
        let mut unclear = 0;
        for _ in 0..HALT_STEPS_MAX {
            let step = match halt.step() {
                Ok(step) => step,
                Err(halted) => {
                    self.discard_payload(halted).await;
                    let Self { is_new, is_held, workers_unanswered, .. } = self;
                    return Ok(Outcome { halted, is_new, is_held, workers_unanswered });
                }
            };
            let reply = Box::pin(self.take(step)).await?;
            self.is_new |= matches!((step, reply), (HaltStep::StoreEnd { .. }, HaltReply::Done | HaltReply::Unclear));
            if reply == HaltReply::Unclear {
                unclear += 1;
                if unclear > HALT_UNCLEAR_MAX {
                    break;
                }
                tokio::time::sleep(HALT_UNCLEAR_PAUSE).await;
            }
            halt = halt.after(reply);
        }
        let detail = format!("{} does not come to rest, or the broker does not say what it stored; try again", self.id);
        Err(unavailable(detail).task_id(self.id))
    }

    async fn take(&mut self, step: HaltStep) -> Result<HaltReply, ApiError> {
        let names = &self.inner.broker.names;
        let (delay, tasks) = (names.delay_stream(&self.queue.name), names.tasks_stream(&self.queue.name));
        match step {
            HaltStep::ReadRecord => self.read_record().await,
            HaltStep::FindTask { run } => self.find(run).await,
            HaltStep::StoreEnd { expected, run } => self.store_end(expected, run).await,
            HaltStep::PurgeDeadline => self.purge(&delay, &names.delay_deadline(self.id)).await,
            HaltStep::PurgeScheduled => self.purge(&delay, &names.delay_at(self.id)).await,
            HaltStep::PurgeQueued => {
                let queued: Vec<String> = self.lanes().map(|lane| names.task(self.id, lane)).collect();
                self.delete(&tasks, queued).await
            }
            HaltStep::DeleteLetter { run } => self.delete_letter(run).await,
            HaltStep::TellWorkers => self.tell().await,
        }
    }

    async fn read_record(&mut self) -> Result<HaltReply, ApiError> {
        let names = &self.inner.broker.names;
        let stream = names.results_stream(&self.queue.name);
        let stored = read::last_on_subject(&self.inner.broker, &stream, &names.result(self.id)).await?;
        let Some(stored) = stored else {
            self.record = None;
            return Ok(HaltReply::Record(None));
        };
        let record = v1::Result::decode(stored.payload).map_err(|error| {
            ApiError::new(Code::Internal, format!("the result of {} cannot be read: {error}", self.id))
        })?;
        let recorded = Recorded { state: record.state(), run: record.run };
        self.record = Some(record);
        Ok(HaltReply::Record(Some((recorded, stored.sequence))))
    }

    async fn find(&mut self, run: u32) -> Result<HaltReply, ApiError> {
        let mark = self.record.as_ref();
        let (found, existence) = match self.inner.look_for(self.queue, self.id, mark).await? {
            Look::Found(found) => (*found, Existence::Present),
            Look::Marked(found) => (*found, Existence::Marked),
            Look::Ended => return Ok(HaltReply::Task(Existence::Ended)),
            Look::Nothing => return Ok(HaltReply::Task(Existence::Absent)),
        };
        // From the second run on the mark says it: a copy that is met may be a leftover of an earlier run.
        let deadline_ms = match &self.record {
            Some(mark) if run > 1 => mark.deadline_ms,
            _ => found.copy.envelope.deadline_ms,
        };
        let is_due = self.halting.cause == Cause::Cancelled || deadline_ms == self.halting.deadline_ms;
        if existence == Existence::Present && !is_due {
            return Ok(HaltReply::Task(Existence::Absent));
        }
        self.span.link(&found.sender);
        self.found = Some(found);
        Ok(HaltReply::Task(existence))
    }

    async fn store_end(&mut self, expected: u64, run: u32) -> Result<HaltReply, ApiError> {
        let Some(found) = &self.found else { return Ok(HaltReply::Unclear) };
        let heard = self.inner.read_event(self.queue, self.id).await?;
        let end = End { halting: self.halting, run, copy: &found.copy, heard: heard.as_ref(), now_ms: now_ms() };
        self.is_held = end.cuts_off(self.queue);
        let names = &self.inner.broker.names;
        let mut message =
            Publish::new(names.result(self.id), Bytes::from(end.record(self.queue, self.id).encode_to_vec()));
        trace::inject(self.span.context(), &mut message.headers);
        message.expected_sequence = Some(expected);
        match self.inner.publisher.store(&names.results_stream(&self.queue.name), message).await {
            Ok(_) => Ok(HaltReply::Done),
            Err(PublishError::Lost) => Ok(HaltReply::Lost),
            Err(PublishError::InFlight | PublishError::Unanswered) => Ok(HaltReply::Unclear),
            Err(error) => Err(error.into()),
        }
    }

    /// An exact subject, which no consumer filters for: for a wildcard the server may load whole blocks of the stream, and a
    /// consumer's floor would move past what it has not acknowledged (`docs/decisions/0018`).
    async fn purge(&self, stream: &str, subject: &str) -> Result<HaltReply, ApiError> {
        ask::purge(&self.inner.broker, stream, subject).await?;
        Ok(HaltReply::Done)
    }

    /// Copy by copy, and never by a purge: a purge of a copy that a worker holds makes the server take its neighbours for
    /// acknowledged, and those that wait for redelivery then wait for ever (`docs/decisions/0018`).
    async fn delete(&self, stream: &str, subjects: impl IntoIterator<Item = String>) -> Result<HaltReply, ApiError> {
        let broker = &self.inner.broker;
        for subject in subjects {
            let mut copies = 0;
            while let Some(copy) = read::last_on_subject(broker, stream, &subject).await? {
                if copies == HALT_COPIES_MAX {
                    return Ok(HaltReply::Unclear);
                }
                ask::delete_message(broker, stream, copy.sequence).await?;
                copies += 1;
            }
        }
        Ok(HaltReply::Done)
    }

    /// The queue's, and the one that the task was found in: the settings may be those of a moment ago.
    fn lanes(&self) -> impl Iterator<Item = Lane> {
        let found = self.found.as_ref().and_then(|found| found.copy.lane);
        let other = found.filter(|lane| !self.queue.lanes.contains(lane));
        self.queue.lanes.iter().copied().chain(other)
    }

    /// By its sequence: another may have its place by now. One that cannot be read is none.
    async fn delete_letter(&self, run: u32) -> Result<HaltReply, ApiError> {
        let names = &self.inner.broker.names;
        let stream = names.dead_stream(&self.queue.name);
        let stored = read::last_on_subject(&self.inner.broker, &stream, &names.dead(self.id)).await?;
        let Some(stored) = stored else { return Ok(HaltReply::Done) };
        let letter = v1::DeadLetter::decode(stored.payload).ok();
        if letter.and_then(|letter| letter.result).is_some_and(|result| result.run < run) {
            ask::delete_message(&self.inner.broker, &stream, stored.sequence).await?;
        }
        Ok(HaltReply::Done)
    }

    async fn tell(&mut self) -> Result<HaltReply, ApiError> {
        let ids = std::slice::from_ref(self.id);
        match self.halting.telling {
            Telling::Later => {}
            Telling::Passing => self.inner.pass_on(self.queue, ids, self.halting).await?,
            Telling::Asking => {
                self.workers_unanswered = self.inner.tell(self.queue, ids, self.halting, self.is_held).await?;
            }
        }
        Ok(HaltReply::Done)
    }

    /// A large payload is nobody's any more. What fails here is left to the sweep.
    async fn discard_payload(&self, halted: Halted) {
        let (Halted::Halted, Some(found)) = (halted, &self.found) else { return };
        let Some(blob) = found.copy.envelope.blob.as_ref().and_then(|claim| own_payload(claim, self.id)) else {
            return;
        };
        let delete = blobs::delete(&self.inner.broker, &blob);
        match tokio::time::timeout(HALT_DISCARD_TIME_MAX, delete).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%blob, %error, "the payload of a halted task is left to the sweep"),
            Err(_) => tracing::debug!(%blob, "the payload of a halted task is left to the sweep: no answer"),
        }
    }
}

/// An envelope can be written by anybody, and may name what is somebody else's.
fn own_payload(claim: &v1::Blob, id: &TaskId) -> Option<BlobId> {
    let blob = BlobId::named(&id.queue(), &claim.name).ok()?;
    matches!(blob.owner(), Owner::Input(task) if task == *id).then_some(blob)
}
