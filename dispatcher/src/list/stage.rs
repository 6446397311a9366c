//! Which streams are read for a list, and in which order.

use workfleet_proto::v1::State;

/// One stream, or the part of it that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The work queue, oldest first: what runs stands before what waits.
    Queue,
    /// What is due in the delay stream and on its way into the queue.
    Due,
    /// All of the delay stream, in the order of its submits.
    Delay,
    /// Results, newest first.
    Ended,
    /// Dead letters, newest first. They outlive their results, and there are few of them.
    Dead,
}

impl Stage {
    /// The stages of a list of tasks in `state`; `None`: in any.
    pub(super) fn of(state: Option<State>) -> &'static [Self] {
        match state {
            None => &[Self::Queue, Self::Delay, Self::Ended],
            Some(State::Queued) => &[Self::Queue, Self::Due],
            Some(State::Running) => &[Self::Queue],
            Some(State::Scheduled | State::Retrying) => &[Self::Delay],
            Some(State::Failed) => &[Self::Dead, Self::Ended],
            Some(State::Completed | State::Cancelled | State::Expired | State::Unspecified) => &[Self::Ended],
        }
    }

    /// The stages of tasks that have not ended, in `state`; `None`: in any.
    pub(super) fn of_open(state: Option<State>) -> &'static [Self] {
        match state {
            None => &[Self::Queue, Self::Delay],
            Some(state) if state.is_end() => &[],
            state => Self::of(state),
        }
    }

    pub(super) fn letter(self) -> char {
        match self {
            Self::Queue => 'q',
            Self::Due => 'u',
            Self::Delay => 'd',
            Self::Ended => 'e',
            Self::Dead => 'x',
        }
    }

    pub(super) fn from_letter(letter: &str) -> Option<Self> {
        let all = [Self::Queue, Self::Due, Self::Delay, Self::Ended, Self::Dead];
        all.into_iter().find(|stage| letter.chars().eq([stage.letter()]))
    }
}
