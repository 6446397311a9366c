//! Where a copy stands in its task's history, and the ids that follow from it.

use crate::id::TaskId;

/// Where a copy of a task stands in the task's own history. A copy that a worker publishes (a retry, a hand-back, a
/// redrive) is always later than the one it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Counts redrives, from 1.
    pub run: u32,
    /// The attempt in the copy's header, from 1.
    pub attempt: u32,
    /// Counts hand-backs of that attempt, from 0.
    pub back: u32,
}

impl Generation {
    /// A task as it was submitted.
    pub const FIRST: Self = Self { run: 1, attempt: 1, back: 0 };

    /// The retry after `attempt` failed.
    #[must_use]
    pub fn retry_after(self, attempt: u32) -> Self {
        Self { attempt: attempt.saturating_add(1), back: 0, ..self }
    }

    /// The copy that is handed back while `attempt` was held; the attempt is not spent.
    #[must_use]
    pub fn handed_back(self, attempt: u32) -> Self {
        // A redelivery has raised the attempt beyond the header, so hand-backs count anew from there.
        let back = if attempt == self.attempt { self.back.saturating_add(1) } else { 1 };
        Self { attempt, back, ..self }
    }

    /// The first copy of the next run.
    #[must_use]
    pub fn redriven(self) -> Self {
        Self { run: self.run.saturating_add(1), attempt: 1, back: 0 }
    }

    /// `Nats-Msg-Id` of the copy: `<id>/<run>/<attempt>`, and `/back<n>` for a hand-back.
    #[must_use]
    pub fn message_id(self, id: &TaskId) -> String {
        let Self { run, attempt, back } = self;
        if back == 0 { format!("{id}/{run}/{attempt}") } else { format!("{id}/{run}/{attempt}/back{back}") }
    }
}

/// `Nats-Msg-Id` of the dead letter of `run`: `<id>/<run>/dead`.
///
/// A redrive deletes the dead letter. Without an id, a late publish of the old run's dead letter would bring it back, beside
/// whatever end the new run has found (`docs/decisions/0005`).
#[must_use]
pub fn dead_letter_id(id: &TaskId, run: u32) -> String {
    format!("{id}/{run}/dead")
}
