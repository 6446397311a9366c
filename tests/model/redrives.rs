//! Operators who redrive the dead letter, two at a time, edited or not.
//!
//! Reads and writes happen at once; a mark or a task that is given up may arrive at any time.

use workfleet_proto::settlement::{Edit, Generation, Redrive, RedriveReply, RedriveStep, Redriven};

use crate::broker::{Mark, Order, Parcel, Publish};
use crate::finds::{COPIES, Place};
use crate::world::{Fleet, World};

/// A process that may redrive the dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Operator {
    /// It does not.
    #[default]
    Idle,
    /// It does.
    Redriving {
        /// How far it is.
        course: RedriveCourse,
        /// What it wishes.
        wish: Wish,
        /// What that comes to, with the letter or the mark that was read.
        order: Order,
        /// Where it has not looked for a copy yet.
        unread: &'static [Place],
    },
}

/// What an operator asks for; what is not said is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Wish {
    /// Another payload.
    pub(crate) payload: Option<u8>,
    /// Another deadline.
    pub(crate) deadline: Option<u8>,
}

/// A redrive being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RedriveCourse {
    /// By the real rules.
    True(Redrive),
    /// By a mutant that knows its own order and heeds no answer.
    Blind(&'static [RedriveStep]),
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedriveAct {
    /// Begins.
    Begin(Wish),
    /// One step.
    Step(usize),
    /// It publishes a mark or a task, and the answer is lost.
    LoseAnswer(usize),
    /// It gives up waiting for that; it may still arrive.
    GiveUp(usize),
    /// What it publishes is refused: there is no room.
    Refuse(usize),
    /// It dies.
    Crash(usize),
}

impl Fleet {
    /// What operators can do now.
    pub(crate) fn redrive_acts(&self, world: &World) -> Vec<RedriveAct> {
        let mut acts = Vec::new();
        if world.left.redrives > 0 && world.broker.dead.is_some() && world.operators.contains(&Operator::Idle) {
            acts.extend(self.wishes.iter().map(|wish| RedriveAct::Begin(*wish)));
        }
        for (index, operator) in world.operators.iter().enumerate() {
            let Operator::Redriving { course, order, .. } = operator else { continue };
            acts.push(RedriveAct::Step(index));
            let step = course.step();
            let publishes = matches!(step, Some(RedriveStep::StoreMark { .. } | RedriveStep::Publish { .. }));
            if publishes && world.left.unanswered > 0 {
                acts.extend([RedriveAct::LoseAnswer(index), RedriveAct::GiveUp(index)]);
            }
            let times = matches!(step, Some(RedriveStep::StoreTimer { .. })) && order.deadline > 0;
            acts.extend((world.left.refusals > 0 && (publishes || times)).then_some(RedriveAct::Refuse(index)));
            acts.extend((world.left.aborts > 0).then_some(RedriveAct::Crash(index)));
        }
        acts
    }

    /// Lets an operator act.
    pub(crate) fn redrive(&self, world: &mut World, act: RedriveAct) {
        match act {
            RedriveAct::Begin(wish) => {
                world.left.redrives -= 1;
                let free = world.operators.iter_mut().find(|operator| **operator == Operator::Idle);
                let course = RedriveCourse::True(Redrive::new());
                let begun = Operator::Redriving { course, wish, order: Order::default(), unread: COPIES };
                free.into_iter().for_each(|free| *free = begun);
            }
            RedriveAct::Step(index) => self.redrive_step(world, index),
            RedriveAct::LoseAnswer(index) => {
                world.left.unanswered -= 1;
                let Some(publish) = self.publish_of(world, index) else { return };
                world.broker.take(publish);
                self.redrive_on(world, index, RedriveReply::Unclear);
            }
            RedriveAct::GiveUp(index) => {
                world.left.unanswered -= 1;
                let Some(publish) = self.publish_of(world, index) else { return };
                world.leave(publish);
                self.redrive_on(world, index, RedriveReply::Unclear);
            }
            RedriveAct::Refuse(index) => {
                world.left.refusals -= 1;
                self.redrive_on(world, index, RedriveReply::Full);
            }
            RedriveAct::Crash(index) => {
                world.left.aborts -= 1;
                world.operators[index] = Operator::Idle;
            }
        }
    }

    fn redrive_step(&self, world: &mut World, index: usize) {
        let Operator::Redriving { course, wish, order, .. } = world.operators[index] else { return };
        let broker = &mut world.broker;
        let reply = match course.step() {
            Some(RedriveStep::ReadLetter) => self.read_letter(world, index),
            Some(RedriveStep::ReadTimer) => RedriveReply::Timer(broker.timer.map_or(0, |(_, sequence)| sequence)),
            Some(RedriveStep::ReadRecord) => self.read_record(world, index),
            Some(RedriveStep::FindCopy { run }) => match world.find_copy(index, run) {
                Some(found) => RedriveReply::Copy(found),
                None => return,
            },
            Some(RedriveStep::StoreMark { expected, run }) => {
                (self.rules.mark)(broker, expected, Mark { run, order, asked: wish.deadline })
            }
            Some(RedriveStep::StoreTimer { .. }) if order.deadline == 0 => RedriveReply::Done,
            Some(RedriveStep::StoreTimer { expected }) => {
                broker.store_timer((self.rules.timer_condition)(expected), order.deadline)
            }
            Some(RedriveStep::Publish { .. }) => match self.publish_of(world, index) {
                Some(Publish::Task { parcel, id }) => world.broker.publish(parcel, id),
                _ => return,
            },
            Some(RedriveStep::DeleteLetter { sequence }) => {
                broker.dead = broker.dead.filter(|letter| !(self.rules.deletes)(letter.sequence, sequence));
                RedriveReply::Done
            }
            None => RedriveReply::Done,
        };
        self.redrive_on(world, index, reply);
    }

    /// The message of the current step.
    fn publish_of(&self, world: &World, index: usize) -> Option<Publish> {
        let Operator::Redriving { course, wish, order, .. } = world.operators[index] else { return None };
        match course.step()? {
            RedriveStep::StoreMark { expected, run } => {
                Some(Publish::Mark { expected, mark: Mark { run, order, asked: wish.deadline } })
            }
            RedriveStep::Publish { run, result_sequence } => {
                let generation = Generation { run, ..Generation::FIRST };
                let parcel = Parcel { generation, result_sequence, order, after_halt: false };
                Some(Publish::Task { parcel, id: run })
            }
            _ => None,
        }
    }

    fn read_letter(&self, world: &mut World, index: usize) -> RedriveReply {
        let Some(letter) = world.broker.dead else { return RedriveReply::Letter(None) };
        let kept = if world.has_passed(letter.order.deadline) { 0 } else { letter.order.deadline };
        if let Operator::Redriving { wish, order, .. } = &mut world.operators[index] {
            order.payload = wish.payload.unwrap_or(letter.order.payload);
            order.deadline = wish.deadline.unwrap_or(kept);
        }
        RedriveReply::Letter(Some((letter.run, letter.sequence)))
    }

    fn read_record(&self, world: &mut World, index: usize) -> RedriveReply {
        let Some((record, sequence)) = world.broker.record else { return RedriveReply::Record(None) };
        let mut edit = Edit::Same;
        if !record.state.is_end()
            && let Some(mark) = world.broker.marked
            && let Operator::Redriving { wish, order, .. } = &mut world.operators[index]
        {
            match (self.rules.joins)(*wish, *order, mark) {
                Some(joined) => *order = joined,
                None => edit = Edit::Other,
            }
        }
        RedriveReply::Record(Some((record, sequence, edit)))
    }

    fn redrive_on(&self, world: &mut World, index: usize, reply: RedriveReply) {
        let Operator::Redriving { course, unread, .. } = &mut world.operators[index] else { return };
        match course {
            RedriveCourse::True(redrive) => {
                *redrive = (self.rules.redrive_after)(*redrive, reply);
                let marks = matches!(redrive.step(), Ok(RedriveStep::StoreMark { .. }));
                if marks && !self.rules.redrive_order.is_empty() {
                    *course = RedriveCourse::Blind(self.rules.redrive_order);
                }
            }
            RedriveCourse::Blind(steps) => *steps = steps.get(1..).unwrap_or_default(),
        }
        let step = course.step();
        if !matches!(step, Some(RedriveStep::FindCopy { .. })) {
            *unread = COPIES;
        }
        if step.is_none() {
            note_done(world, index);
            world.operators[index] = Operator::Idle;
        }
    }
}

/// History: a redrive that says it is done says so of a run that is what it wished.
fn note_done(world: &mut World, index: usize) {
    let Operator::Redriving { course: RedriveCourse::True(redrive), wish, .. } = world.operators[index] else { return };
    let Err(Redriven::Redriven { run }) = redrive.step() else { return };
    let Some(order) = world.broker.orders.get(run as usize - 1) else { return };
    let is_granted = wish.payload.is_none_or(|payload| payload == order.payload)
        && wish.deadline.is_none_or(|deadline| deadline == order.deadline);
    world.broken.ungranted |= !is_granted;
}

impl RedriveCourse {
    fn step(&self) -> Option<RedriveStep> {
        match self {
            Self::True(redrive) => redrive.step().ok(),
            Self::Blind(steps) => steps.first().copied(),
        }
    }
}
