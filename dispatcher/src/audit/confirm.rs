//! One id that was found nowhere, from the leaders: before it is called lost.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::DEAD_MS_MAX;
use workfleet_proto::v1::State;

use super::Fate;
use super::chunk::{Fates, fate_of};
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::ledger::Entry;
use crate::limits::AUDIT_CONFIRMS_MAX;
use crate::view::TaskView;

/// Pauses before each look. A look goes through all places several times by itself; the pauses are for what moves as
/// quickly as the looks: a task whose attempts fail at once, a redrive between two of its steps, a letter that follows
/// its result.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1)];
/// How full results are, in percent, when the oldest may have been dropped for newer ones.
const RESULTS_FULL_PERCENT: u64 = 90;

/// What one look says.
enum Seen {
    Fate(Fate),
    /// Nothing that would be kept.
    Nothing,
    /// A failed result without a letter.
    NoLetter,
}

impl Inner {
    /// Looks for each of them.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(super) async fn confirm_all(
        &self,
        queue: &Queue,
        entries: impl ExactSizeIterator<Item = Entry>,
    ) -> Result<Fates, ApiError> {
        if entries.len() == 0 {
            return Ok(Vec::new());
        }
        let kept_since_ms = self.kept_since_ms(queue).await?;
        stream::iter(entries)
            .map(|entry| async move {
                let fate = self.confirm(queue, &entry, kept_since_ms).await?;
                Ok((entry.id, fate))
            })
            .buffer_unordered(AUDIT_CONFIRMS_MAX)
            .try_collect()
            .await
    }

    async fn confirm(&self, queue: &Queue, entry: &Entry, kept_since_ms: i64) -> Result<Fate, ApiError> {
        let mut seen = Seen::Nothing;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            seen = self.look_once(queue, &entry.id).await?;
            if let Seen::Fate(fate) = seen {
                return Ok(fate);
            }
        }
        if matches!(seen, Seen::NoLetter) {
            return Ok(Fate::FailedWithoutLetter);
        }
        // A redrive that died between its mark and the copy leaves the letter, which can be redriven again.
        if self.read_result(queue, &entry.id).await?.is_some() && self.read_dead_letter(&entry.id).await?.is_some() {
            return Ok(Fate::RedriveUnfinished);
        }
        // It has not ended before it could start.
        let is_old = entry.submitted_at.max(entry.not_before).is_some_and(|at| at.0 < kept_since_ms);
        Ok(if is_old { Fate::BeyondRetention } else { Fate::Lost })
    }

    async fn look_once(&self, queue: &Queue, id: &TaskId) -> Result<Seen, ApiError> {
        let view = match self.find_stored(queue, id).await {
            Err(error) if error.code == Code::Internal => return Ok(Seen::Fate(Fate::Unreadable)),
            view => view?,
        };
        let Some(view) = view else { return Ok(Seen::Nothing) };
        // It is shown as it failed for as long as only the mark of its redrive is there.
        if view.state.0 == State::Failed && self.is_marked(queue, id).await? {
            return Ok(Seen::Nothing);
        }
        Ok(Seen::Fate(match view.state.0 {
            State::Completed => Fate::Completed,
            State::Cancelled => Fate::Cancelled,
            State::Expired => Fate::Expired,
            State::Failed if outlived_its_letter(&view) || self.read_dead_letter(id).await?.is_some() => Fate::Failed,
            State::Failed => return Ok(Seen::NoLetter),
            state => fate_of(state),
        }))
    }

    async fn is_marked(&self, queue: &Queue, id: &TaskId) -> Result<bool, ApiError> {
        Ok(self.read_result(queue, id).await?.is_some_and(|result| !result.state().is_end()))
    }

    /// What ended before this may be gone by right: it is older than the retention, or newer results had no room.
    async fn kept_since_ms(&self, queue: &Queue) -> Result<i64, ApiError> {
        let stream = self.broker.names.results_stream(&queue.name);
        let (state, bytes_max) = ask::stream_and_bytes_max(&self.broker, &stream).await?;
        let retention = now_ms().saturating_sub(queue.settings.retention_ms);
        let is_full = bytes_max > 0 && state.bytes >= bytes_max / 100 * RESULTS_FULL_PERCENT;
        let oldest = state.first_ms().filter(|_| is_full).unwrap_or(i64::MIN);
        Ok(retention.max(oldest))
    }
}

/// Where results are kept for longer than letters.
fn outlived_its_letter(view: &TaskView) -> bool {
    view.ended_at.is_some_and(|at| now_ms() - at.0 > DEAD_MS_MAX)
}
