//! The states of a task and which may follow which.
//!
//! ```text
//! scheduled -> queued -> running -> (retrying -> running)* -> completed | failed | cancelled | expired
//! ```
//! A failed task may be redriven, which begins a new run in `queued`.

use crate::v1::State;

/// Every state, in the order of a task's life.
pub const STATES: [State; 8] = [
    State::Scheduled,
    State::Queued,
    State::Running,
    State::Retrying,
    State::Completed,
    State::Failed,
    State::Cancelled,
    State::Expired,
];

impl State {
    /// Whether nothing follows, short of a redrive.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// Whether `next` may follow this state.
    ///
    /// `running -> queued` is a hand-back or a crashed worker; `queued -> retrying` and the like do not exist, since a
    /// reader may skip states but never see one that was not there.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Unspecified => false,
            Self::Scheduled => matches!(next, Self::Queued | Self::Cancelled | Self::Expired),
            // Bytes that nobody can decode, or attempts used up by crashes, fail a task without a handler.
            Self::Queued => matches!(next, Self::Running | Self::Failed | Self::Cancelled | Self::Expired),
            Self::Running => matches!(next, Self::Queued | Self::Retrying) || next.is_end(),
            Self::Retrying => matches!(next, Self::Queued | Self::Running | Self::Cancelled | Self::Expired),
            // A redrive, of a failed task alone.
            Self::Failed => next == Self::Queued,
            Self::Completed | Self::Cancelled | Self::Expired => false,
        }
    }

    /// The word for the state in JSON, metrics and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state that `word` stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::{STATES, State};

    #[test]
    fn nothing_follows_an_end_but_the_redrive_of_a_failed_task() {
        for state in STATES.into_iter().filter(|state| state.is_end()) {
            let next: Vec<State> = STATES.into_iter().filter(|next| state.may_become(*next)).collect();
            let expected: &[State] = if state == State::Failed { &[State::Queued] } else { &[] };
            assert_eq!(next, expected, "{state:?}");
        }
    }

    #[test]
    fn every_state_can_reach_an_end() {
        for state in STATES.into_iter().filter(|state| !state.is_end()) {
            assert!(STATES.into_iter().any(|next| next.is_end() && state.may_become(next)), "{state:?}");
        }
    }

    #[test]
    fn words_and_states_are_the_same_set() {
        for state in STATES {
            assert_eq!(State::from_word(state.word()), Some(state));
        }
        assert_eq!(State::from_word("pending"), None);
    }
}
