//! The broker: TASKS, DELAY, RESULTS and DEAD, as far as one task can tell.
//!
//! Sequences, message ids, the one schedule of a task, leases and deliveries are here as JetStream 2.15 has them: a schedule
//! takes the place of the one on its subject, an expected sequence is looked at before the message id, an id is remembered
//! after its message is gone, and a copy that is acknowledged is gone, whoever acknowledges it.

use workfleet_proto::settlement::{Generation, Origin, Recorded, RedriveReply, Reply, Scheduled};
use workfleet_proto::v1::State;

pub(crate) use crate::messages::{Due, Letter, Mark, Name, Order, Parcel, Publish, Queued};

/// Everything that is stored about the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broker {
    /// TASKS: the copies in the work queue, in order of their names.
    pub(crate) tasks: Vec<Queued>,
    /// TASKS: the runs that were published into it. It remembers their ids, but for the first so many.
    pub(crate) published: Vec<u32>,
    /// TASKS: how many of these it has forgotten.
    pub(crate) forgotten: usize,
    /// DELAY: the one schedule that a task can have, and its sequence.
    pub(crate) scheduled: Option<(Parcel, u64)>,
    /// DELAY: the last sequence of a schedule.
    pub(crate) schedule_sequence: u64,
    /// DELAY: what is due and not yet moved into TASKS.
    pub(crate) due: Vec<Due>,
    /// DELAY: the ids it remembers.
    pub(crate) delay_ids: Vec<Generation>,
    /// TASKS: the ids of carried copies that it remembers.
    pub(crate) carried_ids: Vec<Generation>,
    /// DELAY: the one timer that a task can have: its deadline, and its sequence.
    pub(crate) timer: Option<(u8, u64)>,
    /// DELAY: the last sequence of a timer.
    pub(crate) timer_sequence: u64,
    /// DELAY: timers that have fired and are not acknowledged.
    pub(crate) expired: Vec<u8>,
    /// RESULTS: the record, and its sequence.
    pub(crate) record: Option<(Recorded, u64)>,
    /// RESULTS: the last sequence of the stream.
    pub(crate) results_sequence: u64,
    /// RESULTS: every end that was ever stored. History, not state: nobody reads it but the properties.
    pub(crate) ends: Vec<Recorded>,
    /// RESULTS: what the latest mark says.
    pub(crate) marked: Option<Mark>,
    /// History: what each run is, the first one first.
    pub(crate) orders: Vec<Order>,
    /// History: a mark did not begin the run after the last.
    pub(crate) run_repeated: bool,
    /// DEAD: the dead letter.
    pub(crate) dead: Option<Letter>,
    /// DEAD: the last sequence.
    pub(crate) dead_sequence: u64,
    /// History: the last run whose letter was stored; 0: none.
    pub(crate) lettered: u32,
    /// DEAD: the ids it remembers.
    pub(crate) dead_ids: Vec<u32>,
    /// Publishes that nobody waits for any more. Each may still arrive, or never.
    pub(crate) late: Vec<Publish>,
}

impl Broker {
    /// A task that was just submitted.
    pub(crate) fn submitted(deadline: u8) -> Self {
        let order = Order { payload: 0, deadline };
        let mut broker = Self { orders: vec![order], published: vec![1], ..Self::default() };
        if deadline > 0 {
            broker.store_timer(None, deadline);
        }
        let parcel = Parcel { generation: Generation::FIRST, result_sequence: 0, order, after_halt: false };
        broker.enqueue(parcel, Origin::Direct, 0);
        broker
    }

    /// Puts a copy into TASKS.
    pub(crate) fn enqueue(&mut self, parcel: Parcel, origin: Origin, twin: u8) {
        let mut name = Name { generation: parcel.generation, twin };
        while self.queued(name).is_some() {
            name.twin += 2;
        }
        self.tasks.push(Queued { name, origin, parcel, deliveries: 0, leased: false });
        self.tasks.sort_unstable_by_key(|queued| queued.name);
    }

    /// Puts a copy into TASKS that was due, unless its id is known there. A twin comes when the server has forgotten it.
    pub(crate) fn carry(&mut self, due: Due) {
        let generation = due.parcel.generation;
        let is_published = generation == (Generation { attempt: 1, back: 0, ..generation })
            && self.published[self.forgotten..].contains(&generation.run);
        let is_new = remember(&mut self.carried_ids, generation) && !is_published;
        if is_new || due.twin > 0 {
            self.enqueue(due.parcel, Origin::Carried, due.twin);
        }
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

    /// Ends the lease of a copy: a NAK.
    pub(crate) fn release(&mut self, name: Name) {
        self.queued_mut(name).into_iter().for_each(|queued| queued.leased = false);
    }

    /// Takes a message in and answers it.
    pub(crate) fn take(&mut self, publish: Publish) -> Reply {
        match publish {
            Publish::Result { expected, state, run } => self.compare_and_set(expected, Recorded { state, run }),
            Publish::DeadLetter { run, order, id } => {
                if id.is_none_or(|id| remember(&mut self.dead_ids, id)) {
                    self.dead_sequence += 1;
                    self.dead = Some(Letter { run, order, sequence: self.dead_sequence });
                    self.lettered = self.lettered.max(run);
                }
                Reply::Stored
            }
            Publish::Retry { expected, parcel, id } => self.schedule(expected, parcel, id),
            Publish::HandBack { parcel, id } => {
                if remember(&mut self.delay_ids, id) {
                    let parcel = Parcel { after_halt: self.is_halted(), ..parcel };
                    self.make_due(Due { parcel, twin: 0 });
                }
                Reply::Stored
            }
            // Operators call these two themselves; here they come late, and nobody hears of it.
            Publish::Mark { expected, mark } => {
                self.mark(expected, mark);
                Reply::Unclear
            }
            Publish::Task { parcel, id } => {
                self.publish(parcel, id);
                Reply::Unclear
            }
        }
    }

    /// Replaces the record if `expected` is its sequence.
    pub(crate) fn compare_and_set(&mut self, expected: Option<u64>, record: Recorded) -> Reply {
        let sequence = self.record.map_or(0, |(_, sequence)| sequence);
        if expected.is_some_and(|expected| expected != sequence) {
            return Reply::Lost(self.record.map(|(record, _)| record));
        }
        self.results_sequence += 1;
        self.record = Some((record, self.results_sequence));
        if record.state.is_end() {
            self.ends.push(record);
        }
        Reply::Stored
    }

    /// The same with the mark of a redrive.
    pub(crate) fn mark(&mut self, expected: u64, mark: Mark) -> RedriveReply {
        match self.compare_and_set(Some(expected), Recorded { state: State::Queued, run: mark.run }) {
            Reply::Stored => {
                self.marked = Some(mark);
                self.orders.push(mark.order);
                self.run_repeated |= self.orders.len() != mark.run as usize;
                RedriveReply::Marked(self.results_sequence)
            }
            _ => RedriveReply::Lost,
        }
    }

    /// Publishes a copy into TASKS where none lies. That is looked at before the message id. One whose id is known is not
    /// stored, and its redrive looks for what became of the one that was.
    pub(crate) fn publish(&mut self, parcel: Parcel, id: u32) -> RedriveReply {
        if !self.tasks.is_empty() || self.published[self.forgotten..].contains(&id) {
            return RedriveReply::Lost;
        }
        self.published.push(id);
        let parcel = Parcel { after_halt: self.is_halted(), ..parcel };
        self.enqueue(parcel, Origin::Direct, 0);
        RedriveReply::Done
    }

    /// Replaces the timer if `expected` is its sequence.
    pub(crate) fn store_timer(&mut self, expected: Option<u64>, deadline: u8) -> RedriveReply {
        let sequence = self.timer.map_or(0, |(_, sequence)| sequence);
        if expected.is_some_and(|expected| expected != sequence) {
            return RedriveReply::Lost;
        }
        self.timer_sequence += 1;
        self.timer = Some((deadline, self.timer_sequence));
        RedriveReply::Done
    }

    /// Forgets all ids: the duplicate windows have closed.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.published.len();
        self.delay_ids.clear();
        self.carried_ids.clear();
        self.dead_ids.clear();
    }

    /// The run that the record names: the first, where there is none.
    pub(crate) fn run(&self) -> u32 {
        self.record.map_or(1, |(record, _)| record.run)
    }

    /// Whether the task was cancelled, or has expired.
    pub(crate) fn is_halted(&self) -> bool {
        self.record.is_some_and(|(record, _)| matches!(record.state, State::Cancelled | State::Expired))
    }

    /// The end that is recorded, if one is.
    pub(crate) fn end(&self) -> Option<Recorded> {
        self.record.map(|(record, _)| record).filter(|record| record.state.is_end())
    }

    /// Sequence of the schedule, if it is of a later copy than this one.
    pub(crate) fn later_schedule(&self, generation: Generation) -> Option<u64> {
        self.scheduled.filter(|(parcel, _)| parcel.generation > generation).map(|(_, sequence)| sequence)
    }

    /// Every copy, wherever it is.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &Parcel> {
        let scheduled = self.scheduled.iter().map(|(parcel, _)| parcel);
        let due = self.due.iter().map(|due| &due.parcel);
        scheduled.chain(due).chain(self.tasks.iter().map(|queued| &queued.parcel))
    }

    /// Those that a halt takes away. What is due stays, and meets the record once it is in the queue.
    pub(crate) fn copies_to_take(&self) -> impl Iterator<Item = &Parcel> {
        let scheduled = self.scheduled.iter().map(|(parcel, _)| parcel);
        let direct = self.tasks.iter().filter(|queued| queued.origin != Origin::Carried);
        scheduled.chain(direct.map(|queued| &queued.parcel))
    }

    /// Whether a copy is left anywhere.
    pub(crate) fn has_copies(&self) -> bool {
        self.copies().next().is_some()
    }

    fn schedule(&mut self, expected: Option<u64>, parcel: Parcel, id: Generation) -> Reply {
        let sequence = self.scheduled.map_or(0, |(_, sequence)| sequence);
        if expected.is_some_and(|expected| expected != sequence) {
            let there = |(there, sequence): (Parcel, u64)| Scheduled { generation: there.generation, sequence };
            return Reply::Taken(self.scheduled.map(there));
        }
        if remember(&mut self.delay_ids, id) {
            let parcel = Parcel { after_halt: self.is_halted(), ..parcel };
            self.schedule_sequence += 1;
            self.scheduled = Some((parcel, self.schedule_sequence));
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
