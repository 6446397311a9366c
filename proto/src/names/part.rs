//! What a delay stream holds, by the third token of its subjects.

/// A part of a delay stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelayPart {
    /// Schedules that have not fired.
    At,
    /// Fired, or handed back; on the way into the queue.
    Due,
    /// Ticks of cron schedules.
    Tick,
    /// Schedules of deadlines.
    Deadline,
    /// Deadlines that have passed.
    Expired,
}

impl DelayPart {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::At, Self::Due, Self::Tick, Self::Deadline, Self::Expired];

    pub(super) fn token(self) -> &'static str {
        match self {
            Self::At => "at",
            Self::Due => "due",
            Self::Tick => "tick",
            Self::Deadline => "deadline",
            Self::Expired => "expired",
        }
    }
}
