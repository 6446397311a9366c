//! Where a task is looked for, by those who halt it and by those who redrive it: place by place, while copies travel.

use workfleet_proto::settlement::{Copies, Existence};

use crate::broker::{Broker, Parcel};
use crate::halts::Halter;
use crate::redrives::Operator;
use crate::world::{Fleet, World};

/// Where a task is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Its schedule.
    Scheduled,
    /// What is due.
    Due,
    /// The queue.
    Queued,
    /// Its record.
    Ended,
}

/// Three times, as the dispatcher does: a copy may move against the reads, once when it is handed back and once as a retry.
pub(crate) const PLACES: &[Place] = &[
    Place::Scheduled,
    Place::Due,
    Place::Queued,
    Place::Ended,
    Place::Scheduled,
    Place::Due,
    Place::Queued,
    Place::Ended,
    Place::Scheduled,
    Place::Due,
    Place::Queued,
    Place::Ended,
];

/// Where a copy of a run is looked for. Who misses one tries to publish it, and meets its message id.
pub(crate) const COPIES: &[Place] = &[Place::Scheduled, Place::Due, Place::Queued];

impl Fleet {
    /// One read of a halter; `None`: it has to look further.
    pub(crate) fn find_task(&self, world: &mut World, index: usize, run: u32) -> Option<Existence> {
        let Halter::Halting { timer, unread, .. } = &mut world.halters[index] else { return None };
        let timer = *timer;
        let [place, rest @ ..] = *unread else { return Some(Existence::Absent) };
        *unread = rest;
        // From the second run on there is the mark that was read before.
        let otherwise = if run > 1 { Existence::Marked } else { Existence::Absent };
        let otherwise = rest.is_empty().then_some(otherwise);
        if *place == Place::Ended {
            let is_news = world.broker.record.is_some_and(|(record, _)| run == 1 || record.state.is_end());
            return if is_news { Some(Existence::Ended) } else { otherwise };
        }
        let Some(copy) = world.broker.copy_at(*place).filter(|copy| copy.generation.run >= run) else {
            return otherwise;
        };
        // What a mark says never changes, so the history of marks is as good as the one that was read.
        let order = if run > 1 { world.broker.orders.get(run as usize - 1).copied() } else { Some(copy.order) };
        let is_due = timer == 0 || order.is_some_and(|order| (self.rules.is_its_timer)(timer, order));
        Some(if is_due { Existence::Present } else { Existence::Absent })
    }
}

impl World {
    /// One read of an operator; `None`: it has to look further.
    pub(crate) fn find_copy(&mut self, index: usize, run: u32) -> Option<Copies> {
        let Operator::Redriving { unread, .. } = &mut self.operators[index] else { return None };
        let [place, rest @ ..] = *unread else { return Some(Copies::None) };
        *unread = rest;
        let found = self.broker.copy_at(*place).is_some_and(|parcel| parcel.generation.run >= run);
        match (found, rest.is_empty()) {
            (true, _) => Some(Copies::Some),
            (false, true) => Some(Copies::None),
            (false, false) => None,
        }
    }
}

impl Broker {
    /// The latest copy in a place.
    fn copy_at(&self, place: Place) -> Option<&Parcel> {
        match place {
            Place::Scheduled => self.scheduled.as_ref().map(|(parcel, _)| parcel),
            Place::Due => self.due.last().map(|due| &due.parcel),
            Place::Queued => self.tasks.last().map(|queued| &queued.parcel),
            Place::Ended => None,
        }
    }
}
