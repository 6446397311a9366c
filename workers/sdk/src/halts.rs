//! Which tasks in this process are said to have been ended from outside: cancelled, or expired (rule 11).
//!
//! What is said on `wf.cancel.<q>` is a reason to look, never a proof. The record is the proof, and it is read before anything
//! is done that cannot be undone: a delivery that was acknowledged on a mere word would be lost if the word was wrong. So
//! everything here comes down to one question, asked before a handler starts and while it runs: was something said of this
//! task since its record was last read?
//!
//! What is said of a task that is not here is noted too, for its delivery may be on its way through this process. Notes are
//! kept for longer than any delivery can be started, and their number is bounded: where there are too many, all deliveries
//! from before look at their records instead. So do those from before a reconnect, since nobody knows what was said
//! meanwhile.

mod hear;
mod notes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use workfleet_proto::id::TaskId;

use crate::task::Held;

pub(crate) use hear::serve;
use notes::Notes;

/// How much longer than a lease a note is kept, at least.
const NOTE_MARGIN: Duration = Duration::from_secs(10);

/// What was said of the tasks in this process.
#[derive(Debug)]
pub(crate) struct Halts {
    state: Mutex<State>,
    /// How many deliveries are in this process.
    count: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    held: HashMap<TaskId, Entry>,
    notes: Notes,
}

/// A task in this process.
#[derive(Debug)]
struct Entry {
    /// Counts what was said of it.
    said: watch::Sender<u64>,
    /// How many of its deliveries are here: after a lapse there may be two.
    holds: u32,
    /// The latest run among them.
    run: u32,
}

/// A delivery in this process, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Hold {
    halts: Arc<Halts>,
    id: TaskId,
    said: watch::Receiver<u64>,
    /// How much of it was looked into.
    heeded: AtomicU64,
}

impl Halts {
    pub(crate) fn new(lease: Duration) -> Arc<Self> {
        let state =
            State { held: HashMap::new(), notes: Notes::new(lease.saturating_add(NOTE_MARGIN), Instant::now()) };
        Arc::new(Self { state: Mutex::new(state), count: watch::Sender::new(0) })
    }

    /// A delivery comes into the process.
    pub(crate) fn hold(self: &Arc<Self>, held: &Held) -> Hold {
        let run = held.copy.generation.run;
        let mut state = self.state();
        let noted = state.notes.concern(&held.id, held.received_at, Instant::now());
        let entry = state.held.entry(held.id.clone());
        let entry = entry.or_insert_with(|| Entry { said: watch::Sender::new(1), holds: 0, run });
        entry.holds += 1;
        entry.run = entry.run.max(run);
        let said = entry.said.subscribe();
        let heeded = AtomicU64::new(if noted { 0 } else { *said.borrow() });
        drop(state);
        self.count.send_modify(|count| *count += 1);
        Hold { halts: Arc::clone(self), id: held.id.clone(), said, heeded }
    }

    /// These tasks are said to have ended. Gives those that are here.
    fn tell(&self, ids: impl IntoIterator<Item = TaskId>) -> Vec<TaskId> {
        let now = Instant::now();
        let mut state = self.state();
        let mut here = Vec::new();
        for id in ids {
            if let Some(entry) = state.held.get(&id) {
                entry.said.send_modify(|said| *said += 1);
                here.push(id.clone());
            }
            state.notes.note(id, now);
        }
        here
    }

    /// Nobody knows what was said until now.
    fn missed(&self) {
        self.state().notes.missed(Instant::now());
    }

    /// The tasks that are here, and their runs.
    fn held(&self) -> Vec<(TaskId, u32)> {
        self.state().held.iter().map(|(id, entry)| (id.clone(), entry.run)).collect()
    }

    fn holds(&self, id: &TaskId) -> bool {
        self.state().held.contains_key(id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Waits until something is said that was not looked into.
    pub(crate) async fn told(&self) {
        let heeded = self.heeded.load(Ordering::Relaxed);
        // The sender lives as long as this hold does.
        let _ = self.said.clone().wait_for(|said| *said > heeded).await;
    }

    /// Whether something was said that was not looked into.
    pub(crate) fn is_told(&self) -> bool {
        *self.said.borrow() > self.heeded.load(Ordering::Relaxed)
    }

    /// What was said is looked into now: call it before the record is read. Gives whether there was anything.
    pub(crate) fn heed(&self) -> bool {
        let said = *self.said.borrow();
        self.heeded.swap(said, Ordering::Relaxed) < said
    }

    /// Waits until no other delivery is in this process.
    pub(crate) async fn alone(&self) {
        let _ = self.halts.count.subscribe().wait_for(|count| *count <= 1).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.halts.state();
        if let Some(entry) = state.held.get_mut(&self.id) {
            entry.holds -= 1;
            if entry.holds == 0 {
                state.held.remove(&self.id);
            }
        }
        drop(state);
        self.halts.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::Halts;
    use crate::task::tests::held;
    use futures::FutureExt as _;
    use std::time::Duration;

    const LEASE: Duration = Duration::from_secs(8);

    #[test]
    fn what_is_said_of_a_task_is_looked_into_once() {
        let (halts, held) = (Halts::new(LEASE), held());
        let hold = halts.hold(&held);
        assert!(!hold.is_told() && hold.told().now_or_never().is_none());
        assert_eq!(halts.tell([held.id.clone()]), std::slice::from_ref(&held.id));
        assert!(hold.is_told() && hold.told().now_or_never().is_some());
        assert!(hold.heed() && !hold.is_told() && !hold.heed());
        halts.tell([held.id.clone()]);
        assert!(hold.is_told(), "it was said again");
    }

    #[test]
    fn a_delivery_of_which_something_was_said_before_it_came_is_told() {
        let (halts, held) = (Halts::new(LEASE), held());
        assert_eq!(halts.tell([held.id.clone()]), [], "it is not here");
        assert!(halts.hold(&held).is_told());
    }

    #[test]
    fn both_deliveries_of_one_task_are_told_and_none_is_left_behind() {
        let (halts, held) = (Halts::new(LEASE), held());
        let (one, two) = (halts.hold(&held), halts.hold(&held));
        halts.tell([held.id.clone()]);
        assert!(one.is_told() && two.is_told());
        drop(one);
        assert!(two.alone().now_or_never().is_some() && halts.holds(&held.id));
        drop(two);
        assert!(halts.held().is_empty());
    }

    #[test]
    fn what_came_before_a_reconnect_is_told() {
        let (halts, held) = (Halts::new(LEASE), held());
        halts.missed();
        assert!(halts.hold(&held).is_told(), "it was received before");
    }
}
