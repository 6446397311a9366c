//! What is submitted: every way that a task can go, side by side.

use rand::RngExt as _;
use workfleet_proto::v1::State;
use workfleet_tests::Probe;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Without a key: what is stored although the answer did not come is nobody's, and is submitted anew.
    Plain,
    /// With an idempotency key.
    Keyed,
    /// Submitted twice with one key, which must give one task.
    Repeated,
    /// Starts later.
    Delayed,
    /// Its first attempt fails.
    Retried,
    /// Fails for good.
    Failing,
    /// Cancelled while it is scheduled, waits or runs, whatever comes first.
    Cancelled,
    /// Works for longer than its deadline.
    Expiring,
    /// Submits a child.
    Parent,
}

/// The mix repeats itself after so many.
const MIX: [Sort; 20] = [
    Sort::Plain,
    Sort::Keyed,
    Sort::Delayed,
    Sort::Plain,
    Sort::Retried,
    Sort::Keyed,
    Sort::Cancelled,
    Sort::Plain,
    Sort::Parent,
    Sort::Keyed,
    Sort::Plain,
    Sort::Repeated,
    Sort::Delayed,
    Sort::Plain,
    Sort::Failing,
    Sort::Keyed,
    Sort::Retried,
    Sort::Plain,
    Sort::Cancelled,
    Sort::Expiring,
];

impl Sort {
    /// The sort of the task with this number.
    pub(crate) fn of(number: usize) -> Self {
        MIX[number % MIX.len()]
    }

    pub(crate) fn probe(self) -> Probe {
        let probe = Probe::echo("chaos").sleeps_ms(rand::rng().random_range(5..=40));
        match self {
            Self::Plain | Self::Keyed | Self::Repeated | Self::Delayed => probe,
            Self::Retried => probe.fails(1),
            Self::Failing => probe.fails_with("hopeless"),
            Self::Cancelled => probe.sleeps_ms(400),
            Self::Expiring => probe.sleeps_ms(4_000),
            Self::Parent => probe.submits(&Probe::echo("child").sleeps_ms(10)),
        }
    }

    /// Of the submit, with the question mark.
    pub(crate) fn options(self, number: usize) -> String {
        match self {
            Self::Delayed => format!("?delay={}ms", rand::rng().random_range(300..=2_500)),
            Self::Expiring => "?deadline=1s".to_owned(),
            Self::Cancelled if number.is_multiple_of(4) => "?delay=1s".to_owned(),
            _ => String::new(),
        }
    }

    pub(crate) fn is_keyed(self) -> bool {
        self != Self::Plain
    }

    /// The tasks that come of one submit.
    pub(crate) fn tasks(self) -> usize {
        if self == Self::Parent { 2 } else { 1 }
    }

    /// How often its handler starts when nothing happens to it.
    pub(crate) fn executions(self) -> usize {
        if self == Self::Retried { 2 } else { 1 }
    }

    /// Whether it may end like this, where nobody has acknowledged a cancel.
    pub(crate) fn may_end(self, state: State) -> bool {
        match self {
            Self::Failing => state == State::Failed,
            // Where the timer could not fire in time, the work may have ended first.
            Self::Expiring => matches!(state, State::Completed | State::Expired),
            Self::Cancelled => matches!(state, State::Completed | State::Cancelled),
            _ => state == State::Completed,
        }
    }
}
