//! Carries out a redrive: what is to be done next is said by [`settlement::Redrive`](Machine), and done here.
//!
//! Whatever goes wrong ends in an error with the letter still there. What was stored until then does no harm, and the next
//! redrive finds it: so nothing is undone, except a blob that certainly nobody names.
//!
//! A run that another redrive has marked and never published is gone on with by the same redrive alone. To begin a run of
//! one's own beside it was the alternative: the other may be slow and not dead, publish the run that was overtaken, and
//! delete the letter, before the later run is there (`docs/decisions/0016-a-mark-is-never-overtaken.md`).

mod message;
mod prepare;
pub(super) mod refuse;

use std::time::Instant;

use workfleet_link::broker::NatsHeaders;
use workfleet_link::pipeline::{PublishError, Stored};
use workfleet_link::read::{self, ReadError};
use workfleet_proto::id::TaskId;
use workfleet_proto::settlement::{Copies, Edit, Recorded, Redrive as Machine, RedriveReply, RedriveStep, Redriven};
use workfleet_proto::v1::State;
use workfleet_proto::wire::CopyHeaders;

use super::letter::Letter;
use super::plan::{Plan, RedriveChanges};
use super::{Redrive, unknown_letter};
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::{REDRIVE_PAUSE, REDRIVE_TIME_MAX};
use crate::state;
use crate::view::{StateWord, TaskView};
use prepare::Prepared;

/// What a redrive came to that did not fail.
#[derive(Debug)]
pub(super) enum Done {
    /// The task is in its queue again.
    Redriven(Box<TaskView>),
    /// It had been redriven before, and has ended since.
    Before,
    /// There is no letter.
    Gone,
    /// There is one, and it is of this run, which is not the one that was named.
    OtherRun(u32),
}

impl Inner {
    /// Redrives the task of one letter, and says where it is then.
    pub(super) async fn redrive_one(&self, id: &TaskId, changes: &RedriveChanges) -> Result<Redrive, ApiError> {
        let queue = self.queue_of_letter(id).await?;
        match self.redrive(&queue, id, changes).await? {
            Done::Redriven(accepted) => {
                // It may run, or have ended, by now.
                let task = self.find(&queue, id).await.ok().flatten().unwrap_or(*accepted);
                Ok(Redrive { task, is_accepted: true })
            }
            Done::Before => Ok(Redrive { task: self.found(&queue, id).await?, is_accepted: false }),
            Done::Gone => Err(unknown_letter(id)),
            Done::OtherRun(run) => Err(refuse::other_run(id, changes.run.unwrap_or_default(), run)),
        }
    }

    /// Redrives the task of one letter.
    pub(super) async fn redrive(&self, queue: &Queue, id: &TaskId, changes: &RedriveChanges) -> Result<Done, ApiError> {
        let mut driving = Driving {
            inner: self,
            queue,
            id,
            changes,
            letter: None,
            other_run: None,
            has_timer: false,
            prepared: None,
            may_have_marked: false,
        };
        // On the heap: the machine's steps are large, and many of these run beside each other.
        let redriven = Box::pin(driving.drive()).await;
        driving.leave(redriven).await
    }

    /// Whether a copy of this run, or of a later one, is anywhere. More than once in the order in which copies travel: one
    /// that moves against it, as a retry does, is missed by the first pass.
    pub(crate) async fn has_copy(&self, queue: &Queue, id: &TaskId, run: u32) -> Result<bool, ApiError> {
        let names = &self.broker.names;
        let (delay, tasks) = (names.delay_stream(&queue.name), names.tasks_stream(&queue.name));
        let due = queue.lanes.iter().map(|lane| (&delay, names.delay_due(id, *lane)));
        let queued = queue.lanes.iter().map(|lane| (&tasks, names.task(id, *lane)));
        let places: Vec<_> = std::iter::once((&delay, names.delay_at(id))).chain(due).chain(queued).collect();
        for (stream, subject) in places.iter().chain(&places) {
            let Some(copy) = read::last_on_subject(&self.broker, stream, subject).await? else { continue };
            if CopyHeaders::read(&NatsHeaders(&copy.headers)).is_ok_and(|copy| copy.generation.run >= run) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A redrive under way.
struct Driving<'a> {
    inner: &'a Inner,
    queue: &'a Queue,
    id: &'a TaskId,
    changes: &'a RedriveChanges,
    /// As it was read last, with what is to become of it.
    letter: Option<(Letter, Plan)>,
    /// The run of a letter that is not of the one that was named.
    other_run: Option<u32>,
    /// Whether there is a timer, whose place that of the new run takes.
    has_timer: bool,
    prepared: Option<Prepared>,
    /// Whether a mark of its own may be stored.
    may_have_marked: bool,
}

impl Driving<'_> {
    async fn drive(&mut self) -> Result<Redriven, ApiError> {
        let mut machine = Machine::new();
        let until = Instant::now() + REDRIVE_TIME_MAX;
        loop {
            let step = match machine.step() {
                Ok(step) => step,
                Err(how) => return Ok(how),
            };
            let reply = self.take(step).await?;
            if matches!(reply, RedriveReply::Lost | RedriveReply::Unclear) {
                if Instant::now() >= until {
                    return Err(refuse::unsettled(self.id));
                }
                tokio::time::sleep(REDRIVE_PAUSE).await;
            }
            machine = machine.after(reply);
        }
    }

    async fn take(&mut self, step: RedriveStep) -> Result<RedriveReply, ApiError> {
        match step {
            RedriveStep::ReadLetter => self.read_letter().await,
            RedriveStep::ReadTimer => self.read_timer().await,
            RedriveStep::ReadRecord => self.read_record().await,
            RedriveStep::StoreMark { expected, run } => self.store_mark(expected, run).await,
            RedriveStep::FindCopy { run } => {
                let found = self.inner.has_copy(self.queue, self.id, run).await?;
                Ok(RedriveReply::Copy(if found { Copies::Some } else { Copies::None }))
            }
            RedriveStep::StoreTimer { expected } => self.store_timer(expected).await,
            RedriveStep::Publish { run, result_sequence } => self.publish(run, result_sequence).await,
            RedriveStep::DeleteLetter { sequence } => self.delete_letter(sequence).await,
        }
    }

    async fn read_letter(&mut self) -> Result<RedriveReply, ApiError> {
        let letter = self.inner.letter(self.id).await?;
        let is_other = |letter: &&Letter| self.changes.run.is_some_and(|run| run != letter.run());
        self.other_run = letter.as_ref().filter(is_other).map(Letter::run);
        let Some(letter) = letter.filter(|_| self.other_run.is_none()) else { return Ok(RedriveReply::Letter(None)) };
        let reply = RedriveReply::Letter(Some((letter.run(), letter.sequence)));
        if self.letter.as_ref().is_none_or(|(before, _)| before.sequence != letter.sequence) {
            let plan = self.inner.plan(self.queue, &letter, self.changes).await?;
            self.letter = Some((letter, plan));
        }
        Ok(reply)
    }

    /// What was begun is gone on with as it was begun: the mark says until when, and how often.
    async fn read_record(&mut self) -> Result<RedriveReply, ApiError> {
        let Some(record) = self.inner.record(self.queue, self.id).await? else { return Ok(RedriveReply::Record(None)) };
        let (state, run) = (record.result.state(), record.result.run.max(1));
        let (_, plan) = self.letter.as_mut().ok_or_else(without_letter)?;
        let is_same = record.result.redriven_payload_sha256[..] == plan.digest[..];
        if !state.is_end() && is_same {
            plan.envelope.deadline_ms = record.result.deadline_ms;
            plan.envelope.attempts_max = record.result.attempts_max;
        }
        let edit = if state.is_end() || is_same { Edit::Same } else { Edit::Other };
        Ok(RedriveReply::Record(Some((Recorded { state, run }, record.sequence, edit))))
    }

    async fn store_mark(&mut self, expected: u64, run: u32) -> Result<RedriveReply, ApiError> {
        // Whatever may be refused is done before anything is marked. So what another redrive has marked had its room, unless
        // others took it meanwhile.
        self.check_room().await?;
        self.prepare().await?;
        self.may_have_marked = true;
        let (letter, plan) = self.letter()?;
        let message = message::mark(&self.inner.broker.names, letter, plan, expected, run);
        let stream = self.inner.broker.names.results_stream(&self.queue.name);
        Ok(match self.inner.publisher.store(&stream, message).await {
            Ok(stored) => RedriveReply::Marked(stored.sequence),
            Err(PublishError::Lost) => RedriveReply::Lost,
            Err(PublishError::Full) => RedriveReply::Full,
            Err(PublishError::InFlight | PublishError::Unanswered) => RedriveReply::Unclear,
            Err(error) => return Err(error.into()),
        })
    }

    async fn publish(&mut self, run: u32, result_sequence: u64) -> Result<RedriveReply, ApiError> {
        self.prepare().await?;
        let (_, plan) = self.letter()?;
        let (names, context) = (&self.inner.broker.names, self.context());
        let message = message::task(names, self.id, plan, self.claim(), run, result_sequence, &context);
        let stream = names.tasks_stream(&self.queue.name);
        let stored = self.inner.publisher.store(&stream, message).await;
        if let Some(prepared) = &mut self.prepared {
            prepared.is_named |= may_be_there(&stored);
        }
        Ok(match stored {
            Ok(Stored { duplicate: false, .. }) => RedriveReply::Done,
            // The stream remembers the id, and has stored nothing now. The copy may have run since, or been purged: what
            // is recorded tells, and until it does the letter stays.
            Ok(Stored { duplicate: true, .. }) | Err(PublishError::Lost) => RedriveReply::Lost,
            Err(PublishError::Full) => RedriveReply::Full,
            Err(PublishError::InFlight | PublishError::Unanswered) => RedriveReply::Unclear,
            Err(error) => return Err(error.into()),
        })
    }

    async fn delete_letter(&self, sequence: u64) -> Result<RedriveReply, ApiError> {
        let stream = self.inner.broker.names.dead_stream(&self.queue.name);
        match ask::delete_message(&self.inner.broker, &stream, sequence).await {
            Ok(()) | Err(ReadError::NoStream { .. }) => Ok(RedriveReply::Done),
            Err(error) => {
                tracing::debug!(task = %self.id, %error, "a redriven letter is not deleted yet");
                Ok(RedriveReply::Unclear)
            }
        }
    }

    fn letter(&self) -> Result<(&Letter, &Plan), ApiError> {
        let letter = self.letter.as_ref().map(|(letter, plan)| (letter, plan));
        letter.ok_or_else(without_letter)
    }

    /// What came of it, for the caller.
    async fn leave(mut self, redriven: Result<Redriven, ApiError>) -> Result<Done, ApiError> {
        let done = match self.without_orphan(redriven).await {
            Ok(Redriven::Redriven { .. }) => Ok(Done::Redriven(Box::new(self.view()?))),
            Ok(Redriven::Before(State::Failed)) => Err(refuse::failed_again(self.id)),
            Ok(Redriven::Before(_)) => Ok(Done::Before),
            Ok(Redriven::NoLetter) => Ok(self.other_run.map_or(Done::Gone, Done::OtherRun)),
            Ok(Redriven::Conflict) => Err(refuse::conflict(self.id)),
            Ok(Redriven::Full) => Err(refuse::full(self.queue, self.id)),
            Err(error) => Err(error.task_id(self.id)),
        };
        if let Some(span) = self.prepared.as_mut().and_then(|prepared| prepared.span.take()) {
            span.end(done.as_ref().map(|_| ()));
        }
        self.discard().await;
        done
    }

    /// Somebody may have dropped the letter while the mark was stored. Where the task was not published then, its run is ended
    /// here: who dropped the letter may have looked before the mark was there. Nobody is told that the letter is there where it
    /// is not.
    async fn without_orphan(&self, redriven: Result<Redriven, ApiError>) -> Result<Redriven, ApiError> {
        match &redriven {
            Ok(Redriven::Full) => {}
            Err(_) if self.may_have_marked => {}
            _ => return redriven,
        }
        match self.inner.end_abandoned(self.queue, self.id).await {
            Ok(true) => redriven,
            Ok(false) => Ok(Redriven::NoLetter),
            // What went wrong first is what the caller can do something about; a full queue promises a letter.
            Err(error) => redriven.and(Err(error)),
        }
    }

    fn view(&self) -> Result<TaskView, ApiError> {
        let (_, plan) = self.letter()?;
        let view = state::of_envelope(self.queue, self.id, &plan.envelope, Some(plan.lane));
        Ok(TaskView { state: StateWord(State::Queued), ..view })
    }
}

/// Whether the message may have been stored.
fn may_be_there(stored: &Result<Stored, PublishError>) -> bool {
    match stored {
        Ok(stored) => !stored.duplicate,
        Err(error) => matches!(error, PublishError::InFlight | PublishError::Unanswered | PublishError::Closed),
    }
}

fn without_letter() -> ApiError {
    ApiError::new(Code::Internal, "a redrive without its letter")
}
