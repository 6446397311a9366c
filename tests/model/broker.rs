//! The broker: TASKS, DELAY, RESULTS and DEAD, as far as one task can tell.
//!
//! Sequences, message ids, the one schedule of a task, leases and deliveries are here as JetStream 2.15 has them: a schedule
//! takes the place of the one on its subject, an expected sequence is looked at before the message id, an id is remembered
//! after its message is gone, and a copy that is acknowledged is gone, whoever acknowledges it.

use workfleet_proto::settlement::{Generation, Origin, Recorded, Reply, Scheduled};
use workfleet_proto::v1::State;

/// Everything that is stored about the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broker {
    /// TASKS: the copies in the work queue, in order of their names.
    pub(crate) tasks: Vec<Queued>,
    /// DELAY: the one schedule that a task can have, and its sequence.
    pub(crate) scheduled: Option<(Parcel, u64)>,
    /// DELAY: what is due and not yet moved into TASKS.
    pub(crate) due: Vec<Due>,
    /// DELAY: the ids it remembers.
    pub(crate) delay_ids: Vec<Generation>,
    /// RESULTS: the record, and its sequence.
    pub(crate) record: Option<(Recorded, u64)>,
    /// RESULTS: the last sequence of the stream.
    pub(crate) results_sequence: u64,
    /// RESULTS: every end that was ever stored. History, not state: nobody reads it but the properties.
    pub(crate) ends: Vec<Recorded>,
    /// DEAD: the run that the dead letter speaks of.
    pub(crate) dead: Option<u32>,
    /// DEAD: the ids it remembers.
    pub(crate) dead_ids: Vec<u32>,
    /// Publishes that nobody waits for any more. Each may still arrive, or never.
    pub(crate) late: Vec<Publish>,
}

/// What a copy of the task carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Parcel {
    /// Where it stands in the task's history.
    pub(crate) generation: Generation,
    /// Sequence of the record that the result must replace.
    pub(crate) result_sequence: u64,
}

/// A copy that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Due {
    /// What it carries.
    pub(crate) parcel: Parcel,
    /// 1 for the second time that the server moves the same copy.
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
    /// Sequence of the record that the result must replace.
    pub(crate) result_sequence: u64,
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
        /// The sequence that must be the last.
        expected: u64,
        /// What to record.
        state: State,
        /// For which run.
        run: u32,
    },
    /// The dead letter of a run.
    DeadLetter {
        /// Which run.
        run: u32,
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
}

impl Broker {
    /// A task that was just submitted.
    pub(crate) fn submitted() -> Self {
        let mut broker = Self::default();
        broker.enqueue(Parcel { generation: Generation::FIRST, result_sequence: 0 }, Origin::Direct, 0);
        broker
    }

    /// Puts a copy into TASKS.
    pub(crate) fn enqueue(&mut self, parcel: Parcel, origin: Origin, twin: u8) {
        let name = Name { generation: parcel.generation, twin };
        let queued = Queued { name, origin, result_sequence: parcel.result_sequence, deliveries: 0, leased: false };
        self.tasks.push(queued);
        self.tasks.sort_unstable_by_key(|queued| queued.name);
    }

    /// Puts a copy among those that are due.
    pub(crate) fn make_due(&mut self, due: Due) {
        self.due.push(due);
        self.due.sort_unstable();
    }

    /// The copy of this name, if nobody has acknowledged it.
    pub(crate) fn queued(&self, name: Name) -> Option<&Queued> {
        self.tasks.iter().find(|queued| queued.name == name)
    }

    /// The same, to be changed.
    pub(crate) fn queued_mut(&mut self, name: Name) -> Option<&mut Queued> {
        self.tasks.iter_mut().find(|queued| queued.name == name)
    }

    /// Takes a message in and answers it.
    pub(crate) fn take(&mut self, publish: Publish) -> Reply {
        match publish {
            Publish::Result { expected, state, run } => self.compare_and_set(expected, Recorded { state, run }),
            Publish::DeadLetter { run, id } => {
                if id.is_none_or(|id| remember(&mut self.dead_ids, id)) {
                    self.dead = Some(run);
                }
                Reply::Stored
            }
            Publish::Retry { expected, parcel, id } => self.schedule(expected, parcel, id),
            Publish::HandBack { parcel, id } => {
                if remember(&mut self.delay_ids, id) {
                    self.make_due(Due { parcel, twin: 0 });
                }
                Reply::Stored
            }
        }
    }

    /// Replaces the record if `expected` is its sequence.
    pub(crate) fn compare_and_set(&mut self, expected: u64, record: Recorded) -> Reply {
        if self.record.map_or(0, |(_, sequence)| sequence) != expected {
            return Reply::Lost(self.record.map(|(record, _)| record));
        }
        self.results_sequence += 1;
        self.record = Some((record, self.results_sequence));
        if record.state.is_end() {
            self.ends.push(record);
        }
        Reply::Stored
    }

    /// The end that is recorded, if one is.
    pub(crate) fn end(&self) -> Option<Recorded> {
        self.record.map(|(record, _)| record).filter(|record| record.state.is_end())
    }

    /// Sequence of the schedule, if it is of a later copy than this one.
    pub(crate) fn later_schedule(&self, generation: Generation) -> Option<u64> {
        self.scheduled.filter(|(parcel, _)| parcel.generation > generation).map(|(_, sequence)| sequence)
    }

    /// Whether a copy is left anywhere.
    pub(crate) fn has_copies(&self) -> bool {
        !self.tasks.is_empty() || !self.due.is_empty() || self.scheduled.is_some()
    }

    fn schedule(&mut self, expected: Option<u64>, parcel: Parcel, id: Generation) -> Reply {
        let sequence = self.scheduled.map_or(0, |(_, sequence)| sequence);
        if expected.is_some_and(|expected| expected != sequence) {
            let there = |(there, sequence): (Parcel, u64)| Scheduled { generation: there.generation, sequence };
            return Reply::Taken(self.scheduled.map(there));
        }
        if remember(&mut self.delay_ids, id) {
            // As many ids as messages: their number is as good as the stream's sequence.
            self.scheduled = Some((parcel, self.delay_ids.len() as u64));
        }
        Reply::Stored
    }
}

/// Whether an id is new; from now on it is not.
fn remember<I: Ord>(ids: &mut Vec<I>, id: I) -> bool {
    match ids.binary_search(&id) {
        Ok(_) => false,
        Err(place) => {
            ids.insert(place, id);
            true
        }
    }
}
