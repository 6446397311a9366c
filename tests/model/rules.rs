//! The rules as the model calls them: pointers to the functions of `workfleet_proto::settlement`.
//!
//! The model decides nothing itself, so that what is explored is what runs. A mutant swaps one pointer
//! ([`mutants`](crate::mutants)). The alternative, a trait with one implementation for each mutant, would repeat every
//! rule in each of them.

use workfleet_proto::settlement::{
    self, Deadline, Delivered, Ended, Generation, Halt, HaltReply, HaltStep, Lease, Look, Plan, Read, Redrive,
    RedriveReply, RedriveStep, Reply, Seen, Settlement, Step, Verdict,
};

use crate::broker::{Broker, Mark, Name, Order};
use crate::finds::{PLACES, Place};
use crate::redrives::Wish;

/// One set of rules.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// What must be known before a handler may start.
    pub(crate) look: fn(&Delivered) -> Look,
    /// In which order it is read.
    pub(crate) reads: fn(Look) -> &'static [Read],
    /// What to do with a delivery.
    pub(crate) judge: fn(&Delivered, u32, Deadline, &Seen) -> Verdict,
    /// What to store for a verdict that needs no handler.
    pub(crate) plan_verdict: fn(Verdict, Lease) -> Option<Plan>,
    /// What to store for an attempt.
    pub(crate) plan: fn(u32, u32, Lease, Ended) -> Plan,
    /// How a plan begins to be carried out.
    pub(crate) begin: fn(Plan, &Delivered) -> Course,
    /// The step to take now.
    pub(crate) step: fn(&Settlement, Lease) -> Option<Step>,
    /// How it goes on after an answer.
    pub(crate) after: fn(Settlement, Reply) -> Settlement,
    /// How it goes on after a publish for which there is no room.
    pub(crate) refused: fn(Settlement) -> Settlement,
    /// What becomes of a delivery whose outcome cannot be stored for now.
    pub(crate) release: fn(&mut Broker, Name),
    /// The condition that a retry is published under: the schedule's sequence, or none at all.
    pub(crate) retry_condition: fn(u64) -> Option<u64>,
    /// What the id of a copy in DELAY is made from. Ids are as different as these ("no two copies share a message id" is a test
    /// of `proto`), and smaller.
    pub(crate) copy_id: fn(Generation) -> Generation,
    /// What a dead letter's message id is made from, if it has one.
    pub(crate) dead_letter_id: fn(u32) -> Option<u32>,
    /// The condition that a result is published under.
    pub(crate) result_condition: fn(u64) -> Option<u64>,
    /// Whether a worker heeds its verdict on a task, if it was told that it is halted.
    pub(crate) goes_on: fn(bool) -> bool,
    /// How a halt goes on after an answer.
    pub(crate) halt_after: fn(Halt, HaltReply) -> Halt,
    /// What a halt takes the refusal of its end for; `None`: for a refusal.
    pub(crate) refused_halt: Option<HaltReply>,
    /// The order of a mutant's steps, instead of [`Halt`]'s.
    pub(crate) halt_order: &'static [HaltStep],
    /// Where a task is looked for.
    pub(crate) places: &'static [Place],
    /// Whether a timer is that of a run.
    pub(crate) is_its_timer: fn(u8, Order) -> bool,
    /// How a redrive goes on after an answer.
    pub(crate) redrive_after: fn(Redrive, RedriveReply) -> Redrive,
    /// The order of a mutant's steps from the mark on, instead of [`Redrive`]'s.
    pub(crate) redrive_order: &'static [RedriveStep],
    /// What a redrive goes on with where it meets a mark; `None`: it is another's.
    pub(crate) joins: fn(Wish, Order, Mark) -> Option<Order>,
    /// How the failed result makes room for the next run.
    pub(crate) mark: fn(&mut Broker, u64, Mark) -> RedriveReply,
    /// The condition that a timer is published under.
    pub(crate) timer_condition: fn(u64) -> Option<u64>,
    /// Whether a letter, by its sequence, is the one that is to be deleted.
    pub(crate) deletes: fn(u64, u64) -> bool,
}

/// A mark is joined by who asks for the same, which is what its digest says. What the run is stands in the mark.
fn joins(wish: Wish, own: Order, mark: Mark) -> Option<Order> {
    let is_same = own.payload == mark.order.payload && wish.deadline == mark.asked;
    is_same.then_some(mark.order)
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            look: Delivered::look,
            reads: Look::reads,
            judge: settlement::judge,
            plan_verdict: Verdict::plan,
            plan: settlement::plan,
            begin: |plan, delivered| Course::True(Settlement::new(plan, delivered)),
            step: Settlement::step,
            after: Settlement::after,
            refused: |settlement| settlement.after(Reply::Unclear),
            release: Broker::release,
            retry_condition: Some,
            copy_id: |copy| copy,
            dead_letter_id: Some,
            result_condition: Some,
            goes_on: |told| !told,
            halt_after: Halt::after,
            refused_halt: None,
            halt_order: &[],
            places: PLACES,
            is_its_timer: |timer, order| timer == order.deadline,
            redrive_after: Redrive::after,
            redrive_order: &[],
            joins,
            mark: Broker::mark,
            timer_condition: Some,
            deletes: |letter, read| letter == read,
        }
    }
}

/// A plan being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Course {
    /// By the real rules.
    True(Settlement),
    /// By a mutant that knows its own order and heeds no answer.
    Blind(&'static [Step]),
}

impl Rules {
    /// The step to take now.
    pub(crate) fn step(&self, course: &Course, lease: Lease) -> Option<Step> {
        match course {
            Course::True(settlement) => (self.step)(settlement, lease),
            Course::Blind(steps) => steps.first().copied(),
        }
    }

    /// How a course goes on after an answer.
    pub(crate) fn after(&self, course: Course, reply: Reply) -> Course {
        match course {
            Course::True(settlement) => Course::True((self.after)(settlement, reply)),
            Course::Blind(steps) if reply == Reply::Unclear => Course::Blind(steps),
            Course::Blind(steps) => Course::Blind(steps.get(1..).unwrap_or_default()),
        }
    }
}
