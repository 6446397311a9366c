//! The slots of a process: how many tasks it works on at once.
//!
//! Durable tasks and direct calls share them. A slot is taken when a message arrives, not when it is asked for: a call
//! may take what a pull had hoped for, and then the pull's message is handed back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

/// All slots of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    permits: Arc<Semaphore>,
    total: u32,
    /// Slots whose handler did not stop when it was told to.
    stuck: watch::Sender<u32>,
    /// Handlers that run within their time.
    working: watch::Sender<u32>,
    freed: Arc<Notify>,
    /// One task at a time waits for all slots, or has them.
    alone: Arc<Semaphore>,
    recall: Arc<Recall>,
}

/// Calls in what was asked of the broker.
#[derive(Debug)]
struct Recall {
    asked: Notify,
    /// Counts how often it was done.
    done: watch::Sender<u64>,
}

/// The right to run one task; given back when dropped. A task that runs alone holds all of them in one.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The right itself.
    Own {
        permit: Option<OwnedSemaphorePermit>,
        freed: Arc<Notify>,
        /// Held by a task that runs alone.
        alone: Option<OwnedSemaphorePermit>,
    },
    /// A share in it: the slot is free when every share is dropped.
    Shared(Arc<Slot>),
}

impl Slots {
    pub(crate) fn new(total: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(total as usize)),
            total,
            stuck: watch::Sender::new(0),
            working: watch::Sender::new(0),
            freed: Arc::new(Notify::new()),
            alone: Arc::new(Semaphore::new(1)),
            recall: Arc::new(Recall { asked: Notify::new(), done: watch::Sender::new(0) }),
        }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// None while a task waits to run alone, or does: a slot that was stuck may come free meanwhile.
    pub(crate) fn free(&self) -> usize {
        if self.alone.available_permits() == 0 { 0 } else { self.permits.available_permits() }
    }

    pub(crate) fn busy(&self) -> u32 {
        self.total.saturating_sub(u32::try_from(self.free()).unwrap_or(u32::MAX))
    }

    /// A free slot, if there is one at this moment.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        if self.free() == 0 {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Slot::Own { permit: Some(permit), freed: Arc::clone(&self.freed), alone: None })
    }

    /// Gives up `slot` and waits until all slots are free, to hold them all. Whoever waits so is served before anybody
    /// who comes later.
    ///
    /// Slots that are stuck are left out: nobody knows when they come free, and the attempts in them are settled, so that a
    /// crash costs them nothing.
    ///
    /// `None` when another task already waits so, or runs alone: whoever waited beside it would go down with it. `None` also
    /// when it takes longer than `wait_max`.
    pub(crate) async fn take_all(&self, slot: Slot, wait_max: Duration) -> Option<Slot> {
        drop(slot);
        let alone = Arc::clone(&self.alone).try_acquire_owned().ok()?;
        // From now on its end, whichever it is, tells the pull loop that what was gathered is free again.
        let mut all = Slot::Own { permit: None, freed: Arc::clone(&self.freed), alone: Some(alone) };
        let mut stuck = self.stuck.subscribe();
        let gather = async {
            loop {
                let wanted = self.total.saturating_sub(*stuck.borrow_and_update()).max(1);
                tokio::select! {
                    biased;
                    permits = Arc::clone(&self.permits).acquire_many_owned(wanted) => break permits.ok(),
                    // One more, or one less, is stuck; the sender is this value's own.
                    _ = stuck.changed() => {}
                }
            }
        };
        let gathered = tokio::time::timeout(wait_max, gather).await.ok().flatten()?;
        if let Slot::Own { permit, .. } = &mut all {
            *permit = Some(gathered);
        }
        Some(all)
    }

    /// Has everything called in that was asked of the broker, and waits until what was on its way is here. For one waiter,
    /// the task that runs alone.
    pub(crate) async fn recall(&self) {
        let mut done = self.recall.done.subscribe();
        self.recall.asked.notify_one();
        let _ = done.changed().await;
    }

    /// Waits until that is asked for. For one waiter, the pull loop.
    pub(crate) async fn recalled(&self) {
        self.recall.asked.notified().await;
    }

    /// It is done.
    pub(crate) fn called_in(&self) {
        self.recall.done.send_modify(|done| *done += 1);
    }

    /// Waits until a slot was given back since the last call. For one waiter, the pull loop.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Counts so many slots as stuck for as long as the value lives.
    pub(crate) fn stuck(&self, count: u32) -> Counted {
        Counted::new(&self.stuck, count)
    }

    pub(crate) fn all_stuck(&self) -> bool {
        *self.stuck.borrow() >= self.total
    }

    pub(crate) fn any_stuck(&self) -> bool {
        *self.stuck.borrow() > 0
    }

    /// Counts a handler as running for as long as the value lives.
    pub(crate) fn working(&self) -> Counted {
        Counted::new(&self.working, 1)
    }

    /// Whether every slot is taken, and none by a handler that runs within its time. This is so for moments, while
    /// tasks are looked at or settled.
    pub(crate) fn none_works(&self) -> bool {
        self.free() == 0 && *self.working.borrow() == 0
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
        if let Self::Own { permit, freed, alone } = self {
            drop(permit.take());
            drop(alone.take());
            freed.notify_one();
        }
    }
}

/// See [`Slots::stuck`] and [`Slots::working`].
#[derive(Debug)]
pub(crate) struct Counted {
    sum: watch::Sender<u32>,
    count: u32,
}

impl Counted {
    fn new(sum: &watch::Sender<u32>, count: u32) -> Self {
        sum.send_modify(|sum| *sum += count);
        Self { sum: sum.clone(), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.sum.send_modify(|sum| *sum -= self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use futures::FutureExt as _;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_task_that_runs_alone_waits_for_the_others_and_keeps_new_ones_out() {
        let slots = Slots::new(3);
        let (own, other) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take_all(own, LONG).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(slots.free(), 0, "who waits for all slots is served first");
        assert!(slots.try_take().is_none());
        drop(other);
        let all = waiting.await.expect("no panic").expect("all of them");
        assert_eq!(slots.busy(), 3);
        drop(all);
        assert_eq!(slots.free(), 3);
    }

    #[tokio::test]
    async fn who_waits_for_all_slots_leaves_those_out_that_are_stuck() {
        let slots = Slots::new(3);
        let (own, other) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take_all(own, LONG).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(slots.free(), 0);
        let _stuck = slots.stuck(1);
        let all = waiting.await.expect("no panic").expect("stuck while it waits");
        assert_eq!((all.count(), slots.free()), (2, 0));
        drop(other);
        assert!(slots.try_take().is_none(), "nobody comes beside it, even into a slot that is free again");
        drop(all);
        assert_eq!(slots.free(), 3);
    }

    #[tokio::test]
    async fn who_waits_for_all_slots_waits_so_long_and_no_longer() {
        let slots = Slots::new(2);
        let (own, _other) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        assert!(slots.take_all(own, Duration::from_millis(10)).await.is_none());
        slots.freed().await;
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_for_all_slots_wakes_the_pull_loop() {
        let slots = Slots::new(2);
        let (own, _other) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        let mut waiting = Box::pin(slots.take_all(own, LONG));
        assert!(waiting.as_mut().now_or_never().is_none());
        // Its own slot, which it gave up for them.
        slots.freed().await;
        assert_eq!(slots.free(), 0);
        drop(waiting);
        slots.freed().await;
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn who_must_run_alone_does_not_wait_beside_another_who_must() {
        let slots = Slots::new(2);
        let (one, two) = (slots.try_take().expect("free"), slots.try_take().expect("free"));
        let (first, second) = tokio::join!(slots.take_all(one, LONG), slots.take_all(two, LONG));
        assert!(second.is_none() && slots.free() == 0, "the first waited, and has them now");
        drop(first);
        assert_eq!(slots.free(), 2);
        let again = slots.try_take().expect("free");
        assert!(slots.take_all(again, LONG).await.is_some());
    }

    #[tokio::test]
    async fn slots_that_are_taken_with_no_handler_running_are_noticed() {
        let slots = Slots::new(1);
        assert!(!slots.none_works());
        let _slot = slots.try_take();
        assert!(slots.none_works());
        let _working = slots.working();
        assert!(!slots.none_works());
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
