//! A worker process with one slot.
//!
//! Nothing ever forces it to take its next step: a worker that is frozen and returns is one whose step comes late.

use workfleet_proto::settlement::{Delivered, Lease, Plan, Read, Seen};

use crate::broker::{Broker, Name, Order, Publish};
use crate::rules::Course;

/// Where the process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    /// Its slot is free.
    Idle,
    /// It reads what it must know before it judges.
    Looking {
        /// What it pulled.
        delivery: Delivery,
        /// What is still to be read.
        unread: &'static [Read],
        /// What it has read.
        seen: Seen,
    },
    /// Its handler runs.
    Running(Delivery),
    /// It stores what came of the delivery.
    Settling {
        /// What it settles.
        delivery: Delivery,
        /// What it stores.
        plan: Plan,
        /// How far it is.
        course: Course,
        /// The publish whose answer it awaits.
        sent: Option<Publish>,
    },
}

/// A delivery in a worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Delivery {
    /// What the broker said about it.
    pub(crate) delivered: Delivered,
    /// Which copy it is.
    pub(crate) name: Name,
    /// What its handler is asked for.
    pub(crate) order: Order,
    /// Whether the lease ran out: it was not renewed in time.
    pub(crate) lapsed: bool,
    /// Whether the worker was told that the task is halted, before its handler started or while it ran.
    pub(crate) told: bool,
    /// Whether the task had ended when it was made. History: the worker does not know it.
    pub(crate) after_the_end: bool,
    /// Sequence of the later copy's schedule that was there when it was made. History, too.
    pub(crate) behind: Option<u64>,
}

impl Worker {
    /// The delivery in its hands.
    pub(crate) fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Idle => None,
            Self::Looking { delivery, .. } | Self::Running(delivery) | Self::Settling { delivery, .. } => {
                Some(delivery)
            }
        }
    }

    /// The same, to be changed.
    pub(crate) fn delivery_mut(&mut self) -> Option<&mut Delivery> {
        match self {
            Self::Idle => None,
            Self::Looking { delivery, .. } | Self::Running(delivery) | Self::Settling { delivery, .. } => {
                Some(delivery)
            }
        }
    }

    /// The publish whose answer it awaits.
    pub(crate) fn sent(&self) -> Option<Publish> {
        match self {
            Self::Settling { sent, .. } => *sent,
            Self::Idle | Self::Looking { .. } | Self::Running(_) => None,
        }
    }
}

impl Delivery {
    /// What the worker's own clock says about its lease. That clock starts before the broker's, so a worker never believes
    /// in a lease that has run out; but what it has already sent arrives whenever it arrives.
    ///
    /// A copy that is gone, acknowledged by an earlier worker or purged, tells nobody: the broker answers its renewals all
    /// the same. (That such a lease runs out later is left out, since it only makes the worker do less.)
    pub(crate) fn lease(&self) -> Lease {
        if self.lapsed { Lease::Lapsed } else { Lease::Held }
    }

    /// Reads one thing.
    pub(crate) fn read(&self, read: Read, broker: &Broker, seen: &mut Seen) {
        let found = match read {
            Read::Scheduled => broker.scheduled.map(|(parcel, _)| parcel.generation),
            Read::Due => broker.due.iter().map(|due| due.parcel.generation).max(),
            Read::Queued => {
                let others = broker.tasks.iter().filter(|queued| queued.name != self.name);
                others.map(|queued| queued.name.generation).max()
            }
            Read::Result => {
                seen.result = broker.record.map(|(record, _)| record);
                None
            }
        };
        seen.latest_copy = seen.latest_copy.max(found);
    }
}
