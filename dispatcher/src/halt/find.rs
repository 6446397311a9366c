//! Where a task is that is to be halted: a copy that waits or runs, or a redrive that has begun.

use opentelemetry::Context;
use workfleet_link::read::{self, StoredMessage};
use workfleet_link::telemetry::trace;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1;

use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::state::{self, Place, Spot, Waiting, spots};

/// A task that moves against the order of the reads is missed once at most; the third pass is for its next move.
const PASSES: usize = 3;

/// What there is of a task.
#[derive(Debug)]
pub(super) enum Look {
    /// It can be halted.
    Found(Box<Found>),
    /// A redrive has marked it, and not published it.
    Marked(Box<Found>),
    /// Its end is recorded, or that a run has begun since the record was read.
    Ended,
    /// Nobody knows it.
    Nothing,
}

/// A task that can be halted.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) copy: Waiting,
    /// The trace that it belongs to.
    pub(super) sender: Context,
}

impl Found {
    fn read(stored: &StoredMessage, place: Place, lane: Option<Lane>) -> Result<Self, ApiError> {
        let copy = state::waiting(stored, place, lane)?;
        Ok(Self { copy, sender: trace::extract(&stored.headers) })
    }
}

impl Inner {
    /// Looks for the task. With the `mark` of a redrive, for a copy of that run: one of an earlier run is nobody's.
    ///
    /// # Errors
    /// When the broker does not answer, or what waits there is no task.
    pub(super) async fn look_for(
        &self,
        queue: &Queue,
        id: &TaskId,
        mark: Option<&v1::Result>,
    ) -> Result<Look, ApiError> {
        let run_min = mark.map_or(1, |mark| mark.run);
        for _ in 0..PASSES {
            if let Some(found) = self.copy_of_run(queue, id, run_min).await? {
                return Ok(Look::Found(Box::new(found)));
            }
            // Where there was no record, a mark is news as well: the task has failed meanwhile, and was redriven.
            if self.read_result(queue, id).await?.is_some_and(|result| mark.is_none() || result.state().is_end()) {
                return Ok(Look::Ended);
            }
        }
        let Some(mark) = mark else { return Ok(Look::Nothing) };
        // The redrive has not published it yet, or died there.
        Ok(Look::Marked(Box::new(self.of_mark(id, mark).await?)))
    }

    /// In the order in which a copy moves.
    async fn copy_of_run(&self, queue: &Queue, id: &TaskId, run_min: u32) -> Result<Option<Found>, ApiError> {
        for Spot { stream, subject, place, lane } in spots(&self.broker.names, queue, id) {
            let Some(stored) = read::last_on_subject(&self.broker, &stream, &subject).await? else { continue };
            let found = Found::read(&stored, place, lane.or_else(|| target_lane(&stored)))?;
            if found.copy.generation.run >= run_min {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The task of a redrive's mark: what its dead letter has of it, with what the mark says of this run.
    async fn of_mark(&self, id: &TaskId, mark: &v1::Result) -> Result<Found, ApiError> {
        let letter = self.read_dead_letter(id).await?;
        let kept = letter.and_then(|letter| letter.envelope).unwrap_or_else(|| v1::Envelope {
            id: mark.id.clone(),
            submitted_at_ms: mark.submitted_at_ms,
            attempts_max: mark.attempts_max,
            ordering_key: mark.ordering_key.clone(),
            tenant: mark.tenant.clone(),
            labels: mark.labels.clone(),
            parent_id: mark.parent_id.clone(),
            trace_id: mark.trace_id.clone(),
            ..v1::Envelope::default()
        });
        let envelope = v1::Envelope { deadline_ms: mark.deadline_ms, attempts: Vec::new(), ..kept };
        let generation = Generation { run: mark.run, ..Generation::FIRST };
        let copy = Waiting { place: Place::Queue, lane: mark.lane.parse().ok(), generation, due_ms: 0, envelope };
        Ok(Found { copy, sender: Context::new() })
    }
}

/// The lane that a schedule leads to: `wf.delay.due.<q>.<b>.<lane>.<id>`.
fn target_lane(stored: &StoredMessage) -> Option<Lane> {
    stored.headers.get(header::SCHEDULE_TARGET)?.as_str().rsplit('.').nth(1)?.parse().ok()
}
