//! Who ends a task from outside: callers that cancel it, and dispatchers that take fired timers.
//!
//! A read, a compare-and-set and a purge happen at once, for what is sent late is no different from what arrives late. A
//! compare-and-set that is given up may arrive at any time. Purges may too, but no run ever follows a halted one.

use workfleet_proto::settlement::{Cause, Halt, HaltReply, HaltStep, Halted, Reply};

use crate::broker::Publish;
use crate::finds::Place;
use crate::worker::Worker;
use crate::world::{Fleet, World};

/// A process that may halt the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Halter {
    /// It does not.
    #[default]
    Idle,
    /// It does.
    Halting {
        /// How far it is.
        course: HaltCourse,
        /// The timer that it took; 0: none, a caller cancels.
        timer: u8,
        /// Where it has not looked for the task yet.
        unread: &'static [Place],
    },
}

/// A halt being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HaltCourse {
    /// By the real rules.
    True(Halt),
    /// By a mutant that knows its own order and heeds no answer.
    Blind(&'static [HaltStep]),
}

/// What a halter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HaltAct {
    /// A caller cancels the task.
    Cancel,
    /// A dispatcher takes a timer that has fired.
    Take(u8),
    /// One step.
    Step(usize),
    /// It stores the end, and the answer is lost.
    LoseAnswer(usize),
    /// It gives up waiting for that; it may still arrive.
    GiveUp(usize),
    /// It may not store the end: there is no room.
    Refuse(usize),
    /// No worker hears of it.
    Unheard(usize),
    /// It dies.
    Crash(usize),
}

impl Fleet {
    /// What halters can do now.
    pub(crate) fn halt_acts(&self, world: &World) -> Vec<HaltAct> {
        let mut acts = Vec::new();
        let busy = world.halters.iter().filter(|halter| **halter != Halter::Idle).count();
        if busy < self.halts {
            acts.extend((world.left.cancels > 0).then_some(HaltAct::Cancel));
            let free = world.broker.expired.iter().filter(|timer| world.is_free(**timer));
            acts.extend(free.map(|timer| HaltAct::Take(*timer)));
        }
        for (index, halter) in world.halters.iter().enumerate() {
            let Halter::Halting { course, .. } = halter else { continue };
            acts.push(HaltAct::Step(index));
            let step = course.step();
            if world.left.refusals > 0 && matches!(step, Some(HaltStep::StoreEnd { .. })) {
                acts.push(HaltAct::Refuse(index));
            }
            match step {
                Some(HaltStep::StoreEnd { .. }) if world.left.unanswered > 0 => {
                    acts.extend([HaltAct::LoseAnswer(index), HaltAct::GiveUp(index)]);
                }
                Some(HaltStep::TellWorkers) if world.left.unanswered > 0 => acts.push(HaltAct::Unheard(index)),
                _ => {}
            }
            acts.extend((world.left.aborts > 0).then_some(HaltAct::Crash(index)));
        }
        acts
    }

    /// Lets a halter act.
    pub(crate) fn halt(&self, world: &mut World, act: HaltAct) {
        match act {
            HaltAct::Cancel => {
                world.left.cancels -= 1;
                self.begin_halt(world, Cause::Cancelled, 0);
            }
            HaltAct::Take(timer) => self.begin_halt(world, Cause::Expired, timer),
            HaltAct::Step(index) => self.halt_step(world, index),
            HaltAct::LoseAnswer(index) => {
                world.left.unanswered -= 1;
                let Some(publish) = world.end_of(index) else { return };
                world.broker.take(publish);
                self.halt_on(world, index, HaltReply::Unclear);
            }
            HaltAct::GiveUp(index) => {
                world.left.unanswered -= 1;
                let Some(publish) = world.end_of(index) else { return };
                world.leave(publish);
                self.halt_on(world, index, HaltReply::Unclear);
            }
            HaltAct::Refuse(index) => {
                world.left.refusals -= 1;
                match self.rules.refused_halt {
                    // An error for its caller; what fired comes again.
                    None => world.halters[index] = Halter::Idle,
                    Some(reply) => self.halt_on(world, index, reply),
                }
            }
            HaltAct::Unheard(index) => {
                world.left.unanswered -= 1;
                self.halt_on(world, index, HaltReply::Done);
            }
            HaltAct::Crash(index) => {
                world.left.aborts -= 1;
                world.halters[index] = Halter::Idle;
            }
        }
    }

    fn begin_halt(&self, world: &mut World, cause: Cause, timer: u8) {
        let Some(free) = world.halters.iter_mut().find(|halter| **halter == Halter::Idle) else { return };
        let course = match self.rules.halt_order {
            [] => HaltCourse::True(Halt::new(cause)),
            steps => HaltCourse::Blind(steps),
        };
        *free = Halter::Halting { course, timer, unread: self.rules.places };
    }

    fn halt_step(&self, world: &mut World, index: usize) {
        let Halter::Halting { course, timer, .. } = world.halters[index] else { return };
        let reply = match course.step() {
            Some(HaltStep::ReadRecord) => HaltReply::Record(world.broker.record),
            Some(HaltStep::FindTask { run }) => match self.find_task(world, index, run) {
                Some(found) => HaltReply::Task(found),
                None => return,
            },
            Some(HaltStep::StoreEnd { .. }) => {
                let Some(publish) = world.end_of(index) else { return };
                if world.broker.take(publish) == Reply::Stored { HaltReply::Done } else { HaltReply::Lost }
            }
            Some(step) => {
                world.purge(step);
                HaltReply::Done
            }
            None => return self.halted(world, index, timer, Halted::Halted),
        };
        self.halt_on(world, index, reply);
    }

    fn halt_on(&self, world: &mut World, index: usize, reply: HaltReply) {
        let Halter::Halting { course, timer, unread } = world.halters[index] else { return };
        let (course, ended) = match course {
            HaltCourse::True(halt) => {
                let halt = (self.rules.halt_after)(halt, reply);
                (HaltCourse::True(halt), halt.step().err())
            }
            HaltCourse::Blind(steps) => {
                let steps = steps.get(1..).unwrap_or_default();
                (HaltCourse::Blind(steps), steps.is_empty().then_some(Halted::Halted))
            }
        };
        let is_looking = matches!(course.step(), Some(HaltStep::FindTask { .. }));
        let unread = if is_looking { unread } else { self.rules.places };
        world.halters[index] = Halter::Halting { course, timer, unread };
        if let Some(ended) = ended {
            self.halted(world, index, timer, ended);
        }
    }

    fn halted(&self, world: &mut World, index: usize, timer: u8, ended: Halted) {
        world.halters[index] = Halter::Idle;
        if timer > 0
            && ended != Halted::Marked
            && let Some(place) = world.broker.expired.iter().position(|fired| *fired == timer)
        {
            world.broker.expired.remove(place);
        }
        match ended {
            Halted::Halted => {
                let after = world.broker.copies_to_take().all(|parcel| parcel.after_halt);
                world.broken.left_behind |= !after;
                let cause = if timer > 0 { Cause::Expired } else { Cause::Cancelled };
                world.acknowledged = Some(cause.state());
            }
            // What fired comes again.
            Halted::Ended(_) | Halted::Marked => {}
            Halted::Unknown => {
                let lives = world.broker.end().is_none() && world.broker.has_copies();
                world.broken.unfound |= timer == 0 && lives;
            }
        }
    }
}

impl HaltCourse {
    fn step(&self) -> Option<HaltStep> {
        match self {
            Self::True(halt) => halt.step().ok(),
            Self::Blind(steps) => steps.first().copied(),
        }
    }
}

impl World {
    fn is_free(&self, timer: u8) -> bool {
        let taken = |halter: &&Halter| matches!(halter, Halter::Halting { timer: taken, .. } if *taken == timer);
        let fired = self.broker.expired.iter().filter(|fired| **fired == timer).count();
        self.halters.iter().filter(taken).count() < fired
    }

    /// The end that a halter stores.
    fn end_of(&self, index: usize) -> Option<Publish> {
        let Halter::Halting { course, timer, .. } = self.halters[index] else { return None };
        let Some(HaltStep::StoreEnd { expected, run }) = course.step() else { return None };
        let cause = if timer > 0 { Cause::Expired } else { Cause::Cancelled };
        Some(Publish::Result { expected: Some(expected), state: cause.state(), run })
    }

    fn purge(&mut self, step: HaltStep) {
        let broker = &mut self.broker;
        match step {
            HaltStep::PurgeDeadline => broker.timer = None,
            HaltStep::PurgeScheduled => broker.scheduled = None,
            HaltStep::PurgeQueued => broker.tasks.clear(),
            HaltStep::DeleteLetter { run } => broker.dead = broker.dead.filter(|letter| letter.run >= run),
            HaltStep::TellWorkers => self.tell_workers(),
            HaltStep::ReadRecord | HaltStep::FindTask { .. } | HaltStep::StoreEnd { .. } => {}
        }
    }

    /// What is settled already is not touched.
    fn tell_workers(&mut self) {
        for worker in &mut self.workers {
            if let Worker::Looking { delivery, .. } | Worker::Running(delivery) = worker {
                delivery.told = true;
            }
        }
    }
}
