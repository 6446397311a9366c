//! The world: one task, its broker, two workers, who halts and who redrives it, and what may still go wrong.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use stateright::{Model, Property};
use workfleet_proto::settlement::{Ended, Lease, Step};
use workfleet_proto::v1::State;

use crate::broker::{Broker, Due, Name, Publish, Queued};
use crate::halts::{HaltAct, Halter};
pub(crate) use crate::mishaps::Mishaps;
use crate::properties;
use crate::redrives::{Operator, RedriveAct, Wish};
use crate::rules::Rules;
use crate::worker::Worker;

/// What is explored: some rules, under some mishaps.
#[derive(Clone, Copy)]
pub(crate) struct Fleet {
    /// The rules that workers follow.
    pub(crate) rules: Rules,
    /// Attempts of a run.
    pub(crate) attempts_max: u32,
    /// What may go wrong, all in all.
    pub(crate) mishaps: Mishaps,
    /// The deadline that the task is submitted with; 0: none.
    pub(crate) deadline: u8,
    /// How many deadlines may pass.
    pub(crate) deadlines: u8,
    /// How many workers may be busy at once.
    pub(crate) workers: usize,
    /// How many halts may be under way at once.
    pub(crate) halts: usize,
    /// What operators may ask for.
    pub(crate) wishes: &'static [Wish],
}

/// A state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// What is stored.
    pub(crate) broker: Broker,
    /// The processes. They are alike, so they stand in a fixed order, like those below: that halves the states.
    pub(crate) workers: [Worker; 2],
    /// Who halts the task.
    pub(crate) halters: [Halter; 2],
    /// Who redrives it.
    pub(crate) operators: [Operator; 2],
    /// How many deadlines have passed.
    pub(crate) passed: u8,
    /// What may still go wrong.
    pub(crate) left: Mishaps,
    /// History: how often a handler was started.
    pub(crate) starts: u8,
    /// History: the halt that was carried out to its end, and so acknowledged.
    pub(crate) acknowledged: Option<State>,
    /// History: what nobody may ever have done.
    pub(crate) broken: Broken,
}

/// Rules about what is done, rather than about what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broken {
    /// An attempt whose lease had run out sent something else than a success.
    pub(crate) stale_write: bool,
    /// A handler was started for a delivery whose lease had run out.
    pub(crate) stale_start: bool,
    /// A handler was started for a delivery that was made after the task's end, or for a redelivery whose look came after
    /// it.
    pub(crate) start_after_the_end: bool,
    /// A handler was started for a redelivery although a later copy had been scheduled all the while.
    pub(crate) start_beside_its_retry: bool,
    /// A handler was started for an attempt that there is not.
    pub(crate) start_too_often: bool,
    /// A worker that was told of a halt before its handler started, or while it ran, started it or sent something else than
    /// a success.
    pub(crate) told_on: bool,
    /// A handler was started with a payload that is not its run's.
    pub(crate) foreign_payload: bool,
    /// A redrive said that it was done, and its run is not what it asked for.
    pub(crate) ungranted: bool,
    /// A halt was acknowledged while a copy was there that had been there when it was recorded.
    pub(crate) left_behind: bool,
    /// A cancel said that there is no such task, and there was.
    pub(crate) unfound: bool,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A worker pulls a copy.
    Pull(usize, Name),
    /// It reads the next thing that it must know, and judges once it knows all.
    Look(usize),
    /// Its attempt ends.
    End(usize, Ended),
    /// It takes the next step of settling.
    Send(usize),
    /// The broker takes its publish in, and the answer arrives.
    Answer(usize),
    /// The broker takes its publish in, and the answer is lost.
    LoseAnswer(usize),
    /// It gives up waiting; its publish may still arrive.
    GiveUp(usize),
    /// Its publish is refused, and it tries again.
    Refuse(usize),
    /// Its publish is refused, and it gives the delivery back.
    Release(usize),
    /// It acknowledges, and the acknowledgement is lost.
    LoseAcknowledgement(usize),
    /// It dies, and what it has sent with it: had that arrived first, the crash would have come later; and if it arrives
    /// later, it was given up first.
    Crash(usize),
    /// A lease runs out.
    Lapse(Name),
    /// The schedule fires.
    Fire,
    /// A dispatcher carries a due copy into the queue.
    Move(Due),
    /// The same, and another will do so again, for it dies before it acknowledges.
    MoveTwice(Due),
    /// A publish arrives that nobody waits for.
    Arrive(Publish),
    /// The broker forgets all message ids.
    CloseWindows,
    /// The next deadline passes.
    PassDeadline,
    /// The timer fires.
    FireTimer,
    /// Somebody cancels the task, or lets it expire.
    Halt(HaltAct),
    /// Somebody redrives it.
    Redrive(RedriveAct),
}

impl Model for Fleet {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            broker: Broker::submitted(self.deadline),
            workers: [Worker::Idle; 2],
            halters: [Halter::Idle; 2],
            operators: [Operator::Idle; 2],
            passed: 0,
            acknowledged: None,
            left: self.mishaps,
            starts: 0,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.worker_actions(world, 0, actions);
        if world.workers[0] != world.workers[1] {
            self.worker_actions(world, 1, actions);
        }
        world.broker_actions(actions);
        if world.passed < self.deadlines {
            actions.push(Action::PassDeadline);
        }
        actions.extend(self.halt_acts(world).into_iter().map(Action::Halt));
        actions.extend(self.redrive_acts(world).into_iter().map(Action::Redrive));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.act(&mut next, action);
        next.order();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Fleet {
    fn worker_actions(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        match &world.workers[index] {
            Worker::Idle => {
                let busy = world.workers.iter().filter(|worker| **worker != Worker::Idle).count();
                if busy == self.workers {
                    return;
                }
                let free = world.broker.tasks.iter().filter(|queued| !queued.leased);
                actions.extend(free.map(|queued| Action::Pull(index, queued.name)));
                return;
            }
            Worker::Looking { .. } => actions.push(Action::Look(index)),
            // Its handler may still complete while it cleans up; what else it says is not listened to.
            Worker::Running(delivery) if delivery.told => {
                actions.extend([Ended::Completed, Ended::Halted].map(|ended| Action::End(index, ended)));
            }
            Worker::Running(delivery) => {
                let ends = [Ended::Completed, Ended::Retryable, Ended::Permanent];
                if world.has_passed(delivery.order.deadline) {
                    actions.push(Action::End(index, Ended::Expired));
                }
                actions.extend(ends.map(|ended| Action::End(index, ended)));
                if world.left.hand_backs > 0 {
                    actions.push(Action::End(index, Ended::HandedBack));
                }
            }
            Worker::Settling { sent: Some(_), .. } => {
                actions.push(Action::Answer(index));
                if world.left.unanswered > 0 {
                    actions.extend([Action::LoseAnswer(index), Action::GiveUp(index)]);
                }
                if world.left.refusals > 0 {
                    actions.extend([Action::Refuse(index), Action::Release(index)]);
                }
            }
            Worker::Settling { course, delivery, .. } => {
                actions.push(Action::Send(index));
                let step = self.rules.step(course, delivery.lease());
                if world.left.unanswered > 0 && step == Some(Step::Acknowledge) {
                    actions.push(Action::LoseAcknowledgement(index));
                }
            }
        }
        if world.left.crashes > 0 {
            actions.push(Action::Crash(index));
        }
    }
}

impl World {
    fn broker_actions(&self, actions: &mut Vec<Action>) {
        let leased = self.broker.tasks.iter().filter(|queued| queued.leased);
        let lapsing = leased.filter(|queued| self.left.lapses > 0 || !self.is_held(queued));
        actions.extend(lapsing.map(|queued| Action::Lapse(queued.name)));
        if self.broker.scheduled.is_some() {
            actions.push(Action::Fire);
        }
        for due in &self.broker.due {
            actions.push(Action::Move(*due));
            if self.left.twins > 0 && due.twin == 0 {
                actions.push(Action::MoveTwice(*due));
            }
        }
        actions.extend(self.broker.late.iter().map(|publish| Action::Arrive(*publish)));
        // No publish is on its way for as long as the windows are open.
        if self.left.forgets > 0 && self.broker.late.is_empty() {
            actions.push(Action::CloseWindows);
        }
        if self.broker.timer.is_some_and(|(deadline, _)| self.has_passed(deadline)) {
            actions.push(Action::FireTimer);
        }
    }

    /// Whether a living worker has the last delivery of a copy in its hands.
    pub(crate) fn is_held(&self, queued: &Queued) -> bool {
        let is_last = |deliveries| deliveries == queued.deliveries;
        let mut deliveries = self.workers.iter().filter_map(Worker::delivery);
        deliveries.any(|delivery| delivery.name == queued.name && is_last(delivery.delivered.deliveries))
    }

    /// Whether a worker's lease is known to have run out.
    pub(crate) fn is_stale(&self, index: usize) -> bool {
        self.workers[index].delivery().is_some_and(|delivery| delivery.lease() == Lease::Lapsed)
    }

    /// Nobody minds which process is which. No two workers have the same delivery of a copy; of the others the hash decides.
    fn order(&mut self) {
        self.workers.sort_by_key(|worker| worker.delivery().map(|held| (held.name, held.delivered.deliveries)));
        if self.halters[0] != self.halters[1] {
            self.halters.sort_by_key(hash);
        }
        if self.operators[0] != self.operators[1] {
            self.operators.sort_by_key(hash);
        }
    }
}

fn hash(process: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    process.hash(&mut hasher);
    hasher.finish()
}
