//! The slots of a process: how many tasks it works on at once.
//!
//! Durable tasks and direct calls share them. A slot is taken when a message arrives, not when it is asked for: a call
//! may take what a pull had hoped for, and then the pull's message is handed back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All slots of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    permits: Arc<Semaphore>,
    total: u32,
    /// Slots whose handler did not stop when it was told to.
    stuck: Arc<AtomicU32>,
    freed: Arc<Notify>,
}

/// The right to run one task; given back when dropped. A task that runs alone holds all of them in one.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The right itself.
    Own { permit: Option<OwnedSemaphorePermit>, freed: Arc<Notify> },
    /// A share in it: the slot is free when every share is dropped.
    Shared(Arc<Slot>),
}

impl Slots {
    pub(crate) fn new(total: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(total as usize)),
            total,
            stuck: Arc::new(AtomicU32::new(0)),
            freed: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    pub(crate) fn busy(&self) -> u32 {
        self.total.saturating_sub(u32::try_from(self.free()).unwrap_or(u32::MAX))
    }

    /// A free slot, if there is one at this moment.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        Arc::clone(&self.permits).try_acquire_owned().ok().map(|permit| self.slot(permit))
    }

    /// Gives up `slot` and waits until all slots are free, to hold them all. Whoever waits so is served before anybody
    /// who comes later, so two tasks that must run alone cannot wait for each other.
    pub(crate) async fn take_all(&self, slot: Slot) -> Slot {
        drop(slot);
        let permits = Arc::clone(&self.permits).acquire_many_owned(self.total).await;
        self.slot(permits.expect("the semaphore is never closed"))
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        Slot::Own { permit: Some(permit), freed: Arc::clone(&self.freed) }
    }

    /// Waits until a slot was given back since the last call. For one waiter, the pull loop.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Counts so many slots as stuck for as long as the value lives.
    pub(crate) fn stuck(&self, count: u32) -> Stuck {
        self.stuck.fetch_add(count, Ordering::SeqCst);
        Stuck { stuck: Arc::clone(&self.stuck), count }
    }

    pub(crate) fn all_stuck(&self) -> bool {
        self.stuck.load(Ordering::SeqCst) >= self.total
    }

    pub(crate) fn any_stuck(&self) -> bool {
        self.stuck.load(Ordering::SeqCst) > 0
    }
}

impl Slot {
    /// A share in `slot`.
    pub(crate) fn shared(slot: Arc<Self>) -> Self {
        Self::Shared(slot)
    }

    /// How many slots it is: all of them for a task that runs alone.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Own { permit, .. } => {
                permit.as_ref().map_or(0, |permit| u32::try_from(permit.num_permits()).unwrap_or(u32::MAX))
            }
            Self::Shared(slot) => slot.count(),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Self::Own { permit, freed } = self {
            drop(permit.take());
            freed.notify_one();
        }
    }
}

/// See [`Slots::stuck`].
#[derive(Debug)]
pub(crate) struct Stuck {
    stuck: Arc<AtomicU32>,
    count: u32,
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.stuck.fetch_sub(self.count, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[tokio::test]
    async fn a_task_that_runs_alone_waits_for_the_others_and_keeps_new_ones_out() {
        let slots = Slots::new(3);
        let (own, other) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take_all(own).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(slots.free(), 0, "who waits for all slots is served first");
        assert!(slots.try_take().is_none());
        drop(other);
        let all = waiting.await.expect("no panic");
        assert_eq!(slots.busy(), 3);
        drop(all);
        assert_eq!(slots.free(), 3);
    }

    #[tokio::test]
    async fn a_slot_that_is_given_back_wakes_the_pull_loop() {
        let slots = Slots::new(1);
        drop(slots.try_take());
        slots.freed().await;
    }

    #[test]
    fn a_process_is_lost_when_all_its_slots_are_stuck() {
        let slots = Slots::new(2);
        let one = slots.stuck(1);
        assert!(slots.any_stuck() && !slots.all_stuck());
        let _two = slots.stuck(1);
        assert!(slots.all_stuck());
        drop(one);
        assert!(!slots.all_stuck());
    }
}
