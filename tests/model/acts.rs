//! What each action does. Every decision in here is a call of the rules.

use workfleet_proto::settlement::{Deadline, Delivered, Ended, Generation, Lease, Look, Plan, Reply, Seen, Step};
use workfleet_proto::v1::State;

use crate::broker::{Due, Name, Parcel, Publish};
use crate::rules::Course;
use crate::worker::{Delivery, Worker};
use crate::world::{Action, Fleet, World};

impl Fleet {
    /// Lets an action happen.
    pub(crate) fn act(&self, world: &mut World, action: Action) {
        match action {
            Action::Pull(index, name) => self.pull(world, index, name),
            Action::Look(index) => self.look(world, index),
            Action::End(index, ended) => self.end(world, index, ended),
            Action::Send(index) => self.send(world, index),
            Action::Answer(index) => {
                let reply = world.arrive(index);
                self.answered(world, index, reply);
            }
            Action::LoseAnswer(index) => {
                world.left.unanswered -= 1;
                world.arrive(index);
                self.answered(world, index, Reply::Unclear);
            }
            Action::GiveUp(index) => {
                world.left.unanswered -= 1;
                world.workers[index].sent().into_iter().for_each(|publish| world.leave(publish));
                self.answered(world, index, Reply::Unclear);
            }
            Action::Refuse(index) => {
                world.left.refusals -= 1;
                self.refused(world, index);
            }
            Action::Release(index) => {
                world.left.refusals -= 1;
                self.release(world, index);
            }
            Action::LoseAcknowledgement(index) => {
                world.left.unanswered -= 1;
                world.workers[index] = Worker::Idle;
            }
            Action::Crash(index) => {
                world.left.crashes -= 1;
                world.workers[index] = Worker::Idle;
            }
            Action::Lapse(name) => world.lapse(name),
            Action::Fire => {
                let fired = world.broker.scheduled.take();
                fired.into_iter().for_each(|(parcel, _)| world.broker.make_due(Due { parcel, twin: 0 }));
            }
            Action::Move(due) => world.move_due(due),
            Action::MoveTwice(due) => {
                world.left.twins -= 1;
                world.move_due(due);
                world.broker.make_due(Due { twin: 1, ..due });
            }
            Action::Arrive(publish) => {
                world.broker.late.retain(|late| *late != publish);
                world.broker.take(publish);
            }
            Action::CloseWindows => {
                world.left.forgets -= 1;
                world.broker.forget();
            }
            Action::PassDeadline => world.passed += 1,
            Action::FireTimer => {
                let fired = world.broker.timer.take();
                world.broker.expired.extend(fired.map(|(deadline, _)| deadline));
                world.broker.expired.sort_unstable();
            }
            Action::Halt(act) => self.halt(world, act),
            Action::Redrive(act) => self.redrive(world, act),
        }
    }

    fn pull(&self, world: &mut World, index: usize, name: Name) {
        let ended = world.broker.end().is_some_and(|end| end.run >= name.generation.run);
        let behind = world.broker.later_schedule(name.generation);
        let Some(queued) = world.broker.queued_mut(name) else { return };
        queued.deliveries += 1;
        queued.leased = true;
        let delivered = Delivered {
            generation: name.generation,
            deliveries: queued.deliveries,
            origin: queued.origin,
            check: queued.parcel.result_sequence > 0,
            result_sequence: queued.parcel.result_sequence,
        };
        let order = queued.parcel.order;
        // A halt is recorded before anything is purged, and one that is certainly new is not looked for in the records.
        let after_the_end = ended && (world.acknowledged.is_some() || delivered.look() != Look::No);
        let delivery = Delivery { delivered, name, order, lapsed: false, told: false, after_the_end, behind };
        let unread = (self.rules.reads)((self.rules.look)(&delivered));
        world.workers[index] = Worker::Looking { delivery, unread, seen: Seen::default() };
    }

    fn look(&self, world: &mut World, index: usize) {
        let Worker::Looking { delivery, unread, mut seen } = world.workers[index] else { return };
        if let [read, unread @ ..] = unread {
            delivery.read(*read, &world.broker, &mut seen);
            world.workers[index] = Worker::Looking { delivery, unread, seen };
            if !unread.is_empty() {
                return;
            }
        }
        let deadline = if world.has_passed(delivery.order.deadline) { Deadline::Passed } else { Deadline::Open };
        let verdict = (self.rules.judge)(&delivery.delivered, self.attempts_max, deadline, &seen);
        if !(self.rules.goes_on)(delivery.told) {
            return self.settle_as(world, index, delivery, Ended::Halted);
        }
        match (self.rules.plan_verdict)(verdict, delivery.lease()) {
            Some(plan) => self.settle(world, index, delivery, plan),
            None => {
                self.note_start(world, index, delivery);
                world.workers[index] = Worker::Running(delivery);
            }
        }
    }

    /// History: what the properties want to know of a start.
    fn note_start(&self, world: &mut World, index: usize, delivery: Delivery) {
        let Delivery { delivered, name, after_the_end, behind, .. } = delivery;
        let redelivered = delivered.deliveries > 1;
        let ended = world.broker.end().is_some_and(|end| end.run >= name.generation.run);
        let beside = behind.is_some() && behind == world.broker.later_schedule(name.generation);
        let attempt = u64::from(name.generation.attempt) + delivered.deliveries - 1;
        world.starts += 1;
        world.broken.stale_start |= world.is_stale(index);
        world.broken.told_on |= delivery.told;
        let ordered = world.broker.orders.get(name.generation.run as usize - 1);
        world.broken.foreign_payload |= ordered.is_none_or(|order| order.payload != delivery.order.payload);
        world.broken.start_after_the_end |= after_the_end || (redelivered && ended);
        world.broken.start_beside_its_retry |= redelivered && beside;
        world.broken.start_too_often |= attempt > u64::from(self.attempts_max);
    }

    fn end(&self, world: &mut World, index: usize, ended: Ended) {
        let Worker::Running(delivery) = world.workers[index] else { return };
        if ended == Ended::HandedBack {
            world.left.hand_backs -= 1;
        }
        self.settle_as(world, index, delivery, ended);
    }

    fn settle_as(&self, world: &mut World, index: usize, delivery: Delivery, ended: Ended) {
        let plan = (self.rules.plan)(delivery.delivered.attempt(), self.attempts_max, delivery.lease(), ended);
        self.settle(world, index, delivery, plan);
    }

    fn settle(&self, world: &mut World, index: usize, delivery: Delivery, plan: Plan) {
        let course = (self.rules.begin)(plan, &delivery.delivered);
        world.workers[index] = Worker::Settling { delivery, plan, course, sent: None };
        self.rest_if_done(world, index);
    }

    fn send(&self, world: &mut World, index: usize) {
        let Worker::Settling { delivery, plan, course, .. } = world.workers[index] else { return };
        match self.rules.step(&course, delivery.lease()) {
            None => world.workers[index] = Worker::Idle,
            Some(Step::Acknowledge) => {
                world.broker.tasks.retain(|queued| queued.name != delivery.name);
                let course = self.rules.after(course, Reply::Stored);
                world.workers[index] = Worker::Settling { delivery, plan, course, sent: None };
                self.rest_if_done(world, index);
            }
            Some(step) => {
                let sent = self.publish(&delivery, plan, step);
                let success = matches!(sent, Some(Publish::Result { state: State::Completed, .. }));
                world.broken.stale_write |= world.is_stale(index) && !success;
                world.broken.told_on |= delivery.told && !success;
                world.workers[index] = Worker::Settling { delivery, plan, course, sent };
            }
        }
    }

    fn publish(&self, delivery: &Delivery, plan: Plan, step: Step) -> Option<Publish> {
        let Delivery { delivered, order, .. } = *delivery;
        let Generation { run, .. } = delivered.generation;
        let result_sequence = delivered.result_sequence;
        let parcel = |generation| Parcel { generation, result_sequence, order, after_halt: false };
        match step {
            Step::StoreResult { expected } => {
                let state = match plan {
                    Plan::Complete => State::Completed,
                    Plan::Expire => State::Expired,
                    _ => State::Failed,
                };
                Some(Publish::Result { expected: (self.rules.result_condition)(expected), state, run })
            }
            Step::StoreDeadLetter => Some(Publish::DeadLetter { run, order, id: (self.rules.dead_letter_id)(run) }),
            Step::StoreRetry { expected } => {
                let retry = delivered.generation.retry_after(delivered.attempt());
                let expected = (self.rules.retry_condition)(expected);
                Some(Publish::Retry { expected, parcel: parcel(retry), id: (self.rules.copy_id)(retry) })
            }
            // Due at once: no schedule, no condition.
            Step::StoreHandBack { .. } => {
                let back = delivered.generation.handed_back(delivered.attempt());
                Some(Publish::HandBack { parcel: parcel(back), id: (self.rules.copy_id)(back) })
            }
            Step::Acknowledge => None,
        }
    }

    fn answered(&self, world: &mut World, index: usize, reply: Reply) {
        let Worker::Settling { delivery, plan, course, .. } = world.workers[index] else { return };
        let course = self.rules.after(course, reply);
        world.workers[index] = Worker::Settling { delivery, plan, course, sent: None };
        self.rest_if_done(world, index);
    }

    fn refused(&self, world: &mut World, index: usize) {
        let Worker::Settling { delivery, plan, course, .. } = world.workers[index] else { return };
        let course = match course {
            Course::True(settlement) => Course::True((self.rules.refused)(settlement)),
            Course::Blind(_) => course,
        };
        world.workers[index] = Worker::Settling { delivery, plan, course, sent: None };
        self.rest_if_done(world, index);
    }

    /// A delivery whose lease has run out is left: the broker would take the word for that of whoever has it now.
    fn release(&self, world: &mut World, index: usize) {
        if let Worker::Settling { delivery, .. } = world.workers[index]
            && delivery.lease() == Lease::Held
        {
            (self.rules.release)(&mut world.broker, delivery.name);
        }
        world.workers[index] = Worker::Idle;
    }

    fn rest_if_done(&self, world: &mut World, index: usize) {
        let Worker::Settling { delivery, course, .. } = world.workers[index] else { return };
        if self.rules.step(&course, delivery.lease()).is_none() {
            world.workers[index] = Worker::Idle;
        }
    }
}

impl World {
    /// A worker's publish arrives.
    fn arrive(&mut self, index: usize) -> Reply {
        self.workers[index].sent().map_or(Reply::Unclear, |publish| self.broker.take(publish))
    }

    /// Nobody waits any more for a publish.
    pub(crate) fn leave(&mut self, publish: Publish) {
        self.broker.late.push(publish);
        self.broker.late.sort_unstable();
        self.broker.late.dedup();
    }

    fn lapse(&mut self, name: Name) {
        let held = self.broker.queued(name).is_some_and(|queued| self.is_held(queued));
        self.left.lapses -= u8::from(held);
        let Some(queued) = self.broker.queued_mut(name) else { return };
        queued.leased = false;
        let last = (name, queued.deliveries);
        for delivery in self.workers.iter_mut().filter_map(Worker::delivery_mut) {
            delivery.lapsed |= (delivery.name, delivery.delivered.deliveries) == last;
        }
    }

    /// A dispatcher stores it, and acknowledges whatever the answer is.
    fn move_due(&mut self, due: Due) {
        self.broker.due.retain(|other| *other != due);
        self.broker.carry(due);
    }

    /// Whether a deadline lies behind.
    pub(crate) fn has_passed(&self, deadline: u8) -> bool {
        (1..=self.passed).contains(&deadline)
    }
}
