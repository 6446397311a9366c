//! What is stored at the broker, and what is sent to it.

use workfleet_proto::settlement::{Generation, Origin};
use workfleet_proto::v1::State;

/// What an operator can change of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Order {
    /// The payload: 0 is the first.
    pub(crate) payload: u8,
    /// The deadline: 0 is none, and 1 passes before 2.
    pub(crate) deadline: u8,
}

/// The mark of a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    /// The run that begins.
    pub(crate) run: u32,
    /// What it is.
    pub(crate) order: Order,
    /// The deadline that was asked for, whatever was kept otherwise.
    pub(crate) asked: Option<u8>,
}

/// A dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Letter {
    /// The run that failed.
    pub(crate) run: u32,
    /// What it was.
    pub(crate) order: Order,
    /// Its sequence.
    pub(crate) sequence: u64,
}

/// What a copy of the task carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Parcel {
    /// Where it stands in the task's history.
    pub(crate) generation: Generation,
    /// Sequence of the record that the result must replace.
    pub(crate) result_sequence: u64,
    /// What its handler is asked for.
    pub(crate) order: Order,
    /// History: it was stored after its task was halted.
    pub(crate) after_halt: bool,
}

/// A copy that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Due {
    /// What it carries.
    pub(crate) parcel: Parcel,
    /// 1 for the second time that the same copy is carried.
    pub(crate) twin: u8,
}

/// Which copy in TASKS: no two have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    /// Its place in the task's history.
    pub(crate) generation: Generation,
    /// 1 for the second of two that the server made of one.
    pub(crate) twin: u8,
}

/// A copy in TASKS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    /// Which.
    pub(crate) name: Name,
    /// How it came in.
    pub(crate) origin: Origin,
    /// What it carries.
    pub(crate) parcel: Parcel,
    /// How often it was delivered.
    pub(crate) deliveries: u64,
    /// Whether the last delivery's lease has not run out.
    pub(crate) leased: bool,
}

/// A message to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Publish {
    /// Compare-and-set of the record.
    Result {
        /// The sequence that must be the last; `None`: no condition.
        expected: Option<u64>,
        /// What to record.
        state: State,
        /// For which run.
        run: u32,
    },
    /// The dead letter of a run.
    DeadLetter {
        /// Which run.
        run: u32,
        /// What it was.
        order: Order,
        /// Its message id.
        id: Option<u32>,
    },
    /// The schedule of a retry.
    Retry {
        /// The sequence that must be the schedule's; `None`: no condition.
        expected: Option<u64>,
        /// The copy.
        parcel: Parcel,
        /// Its message id.
        id: Generation,
    },
    /// A copy that is due at once.
    HandBack {
        /// The copy.
        parcel: Parcel,
        /// Its message id.
        id: Generation,
    },
    /// Compare-and-set of the mark of a redrive.
    Mark {
        /// The sequence that must be the last.
        expected: u64,
        /// What it says.
        mark: Mark,
    },
    /// The copy that a redrive publishes, where none lies.
    Task {
        /// The copy.
        parcel: Parcel,
        /// Its message id.
        id: u32,
    },
}
