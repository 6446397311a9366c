//! What to ask for next. No I/O: requests come out, what happened to them goes in.
//!
//! One lane is simple: one request for all free slots that waits for tasks. Only the first on a connection does not wait,
//! so that the broker's answer tells at once, and not with its first heartbeat, that the worker is ready.
//!
//! With several lanes a waiting request keeps slots from the others, so requests do not wait: the lanes are asked one
//! after the other for all that is free, the most urgent first, but every fourth time the second one first, and every
//! sixteenth time the third, so that none starves. When all are empty, each gets a **bell**, a request for one task that
//! waits a moment; the first that rings starts a new round. Sharing the slots out by fixed weights instead would leave
//! slots idle whenever one lane is empty.

use std::time::{Duration, Instant};

/// How often the broker says that a waiting request is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a request waits at the broker.
const LONG: Duration = Duration::from_secs(10);
/// How long a bell waits where every lane can have one.
const BELL_SHARED: Duration = Duration::from_secs(1);
/// How long a bell waits where lanes take turns.
const BELL_IN_TURN: Duration = Duration::from_millis(250);
/// Longest silence beyond what was agreed.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// First and longest pause after a refusal.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest time between two looks at the whole.
const WAKE_MAX: Duration = Duration::from_secs(1);

/// How a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For tasks, this long, with heartbeats.
    Long(Duration),
    /// For one task, this long.
    Bell(Duration),
    /// Not at all.
    No,
}

/// A request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) lane: usize,
    pub(super) serial: u64,
    pub(super) batch: usize,
    pub(super) wait: Wait,
}

/// What the broker says about a request, besides tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It still waits.
    Alive,
    /// It has ended; there is nothing more.
    Empty,
    /// It has ended, and asking again at once would not help.
    Refused,
}

#[derive(Debug)]
struct Request {
    serial: u64,
    left: usize,
    wait: Wait,
    heard: Instant,
    ends: Instant,
}

#[derive(Debug, Default)]
struct State {
    request: Option<Request>,
    /// Something was heard of it on this connection.
    heard: bool,
    /// Nothing was there when it was last asked, and nothing has come since.
    empty: bool,
    refusals: u32,
    paused_until: Option<Instant>,
}

/// All lanes of the queue.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<State>,
    serial: u64,
    rounds: u32,
    bells: usize,
}

impl Lanes {
    pub(super) fn new(count: usize) -> Self {
        Self { lanes: (0..count).map(|_| State::default()).collect(), serial: 0, rounds: 0, bells: 0 }
    }

    /// The requests to send now, with so many slots free. They count as sent.
    pub(super) fn asks(&mut self, free: usize, now: Instant) -> Vec<Ask> {
        let asked: usize = self.lanes.iter().filter_map(|lane| lane.request.as_ref()).map(|request| request.left).sum();
        let spare = free.saturating_sub(asked);
        if spare == 0 {
            return Vec::new();
        }
        let open: Vec<usize> = (0..self.lanes.len()).filter(|place| self.lanes[*place].is_open(now)).collect();
        if self.lanes.len() == 1 {
            let wait = if self.lanes[0].heard { Wait::Long(LONG) } else { Wait::No };
            return open.into_iter().map(|lane| self.ask(lane, spare, wait, now)).collect();
        }
        let first = self.first_lane();
        let next =
            open.iter().copied().filter(|lane| !self.lanes[*lane].empty).min_by_key(|lane| (*lane != first, *lane));
        if let Some(lane) = next {
            self.rounds = self.rounds.wrapping_add(1);
            return vec![self.ask(lane, spare, Wait::No, now)];
        }
        let bell = if free >= self.lanes.len() { BELL_SHARED } else { BELL_IN_TURN };
        self.bells = self.bells.wrapping_add(1);
        let mut in_turn = open;
        if !in_turn.is_empty() {
            let turn = self.bells % in_turn.len();
            in_turn.rotate_left(turn);
        }
        in_turn.into_iter().take(spare).map(|lane| self.ask(lane, 1, Wait::Bell(bell), now)).collect()
    }

    /// The lane that is asked first in this round: mostly 0, every fourth time 1, every sixteenth 2.
    fn first_lane(&self) -> usize {
        let fours = (self.rounds.wrapping_add(1).trailing_zeros() / 2) as usize;
        fours.min(self.lanes.len() - 1)
    }

    fn ask(&mut self, lane: usize, batch: usize, wait: Wait, now: Instant) -> Ask {
        self.serial += 1;
        let time = match wait {
            Wait::Long(time) | Wait::Bell(time) => time,
            Wait::No => Duration::ZERO,
        };
        let request = Request { serial: self.serial, left: batch, wait, heard: now, ends: now + time };
        self.lanes[lane].request = Some(request);
        Ask { lane, serial: self.serial, batch, wait }
    }

    /// A task of this lane has come.
    pub(super) fn delivered(&mut self, lane: usize) {
        for state in &mut self.lanes {
            state.empty = false;
        }
        let state = &mut self.lanes[lane];
        state.heard = true;
        state.refusals = 0;
        if let Some(request) = &mut state.request {
            request.left = request.left.saturating_sub(1);
            request.heard = Instant::now();
            if request.left == 0 {
                state.request = None;
            }
        }
    }

    /// Something was said about a request. What is said about one that was given up long ago does not count.
    pub(super) fn answered(&mut self, lane: usize, serial: u64, answer: Answer, now: Instant) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let Some(request) = state.request.as_mut().filter(|request| request.serial == serial) else { return };
        match answer {
            Answer::Alive => request.heard = now,
            Answer::Empty => {
                let wait = request.wait;
                state.request = None;
                state.heard = true;
                state.refusals = 0;
                match wait {
                    // A bell that did not ring: look at all lanes, then it is another's turn.
                    Wait::Bell(_) => self.lanes.iter_mut().for_each(|lane| lane.empty = false),
                    Wait::No => state.empty = true,
                    Wait::Long(_) => {}
                }
            }
            Answer::Refused => state.refuse(now),
        }
    }

    /// Ends the requests that went silent, and says of which lanes.
    pub(super) fn silent(&mut self, now: Instant) -> Vec<usize> {
        let silent = |request: &Request| request.silent_at() <= now;
        let lanes: Vec<usize> =
            (0..self.lanes.len()).filter(|lane| self.lanes[*lane].request.as_ref().is_some_and(silent)).collect();
        for lane in &lanes {
            self.lanes[*lane].refuse(now);
        }
        lanes
    }

    /// No request that is out counts any more; pauses do.
    pub(super) fn abandon(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.request = None);
    }

    /// The connection is a new one; no request of the old one counts.
    pub(super) fn forget(&mut self) {
        self.lanes.iter_mut().for_each(|lane| *lane = State::default());
    }

    /// When to look again, if nothing happens before.
    pub(super) fn wake(&self, now: Instant) -> Instant {
        let silent = self.lanes.iter().filter_map(|lane| lane.request.as_ref()).map(Request::silent_at);
        let paused = self.lanes.iter().filter_map(|lane| lane.paused_until).filter(|until| *until > now);
        silent.chain(paused).min().unwrap_or(now + WAKE_MAX).min(now + WAKE_MAX)
    }
}

impl State {
    fn is_open(&self, now: Instant) -> bool {
        self.request.is_none() && self.paused_until.is_none_or(|until| until <= now)
    }

    fn refuse(&mut self, now: Instant) {
        self.request = None;
        self.paused_until = Some(now + (PAUSE_MIN * (1 << self.refusals.min(8))).min(PAUSE_MAX));
        self.refusals += 1;
    }
}

impl Request {
    /// When nothing more is to be expected of it.
    fn silent_at(&self) -> Instant {
        let unheard = match self.wait {
            Wait::Long(_) => self.heard + HEARTBEAT + SILENCE_MAX,
            Wait::Bell(_) | Wait::No => self.ends + SILENCE_MAX,
        };
        unheard.min(self.ends + SILENCE_MAX)
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
