//! How much of what this process bounds is in use: one list for the metrics, so that whoever reads `rate_limited` sees which
//! bound it was. Those of the queues are in [`bounds`](crate::bounds).
//!
//! Read from the semaphores that keep the bounds: a count beside them could say something else.

use tokio::sync::Semaphore;

use crate::bounds::Bound;
use crate::dispatcher::Inner;
use crate::limits::{BULK_CANCELS_MAX, CALLS_MAX, CANCELS_MAX, LISTS_MAX, WAITS_MAX, WATCHES_MAX};

impl Inner {
    /// Every bound of what is under way in this process.
    pub(crate) fn places(&self) -> [Bound; 9] {
        [
            self.unsent.used(),
            self.large.used(),
            self.reads.used(),
            taken("calls_max", &self.calls, CALLS_MAX),
            taken("waits_max", &self.waits, WAITS_MAX),
            taken("watches_max", &self.watches, WATCHES_MAX),
            taken("lists_max", &self.lists, LISTS_MAX),
            taken("cancels_max", &self.cancels, CANCELS_MAX),
            taken("bulk_cancels_max", &self.bulk_cancels, BULK_CANCELS_MAX),
        ]
    }
}

/// How many of `max` permits somebody has.
pub(crate) fn taken(limit: &'static str, left: &Semaphore, max: usize) -> Bound {
    taken_of(limit, left, max, 1)
}

/// The same where a permit stands for `unit` of what is counted.
pub(crate) fn taken_of(limit: &'static str, left: &Semaphore, max: usize, unit: usize) -> Bound {
    let used = (max / unit).saturating_sub(left.available_permits()) * unit;
    Bound { limit, used: used as u64, max: max as u64 }
}

#[cfg(test)]
mod tests {
    use super::{Bound, taken_of};
    use tokio::sync::Semaphore;

    #[test]
    fn what_somebody_has_is_counted_in_its_own_unit() {
        let left = Semaphore::new(4);
        let _held = left.try_acquire_many(3).expect("three of four");
        assert_eq!(taken_of("bytes_max", &left, 4_096, 1_024), Bound { limit: "bytes_max", used: 3_072, max: 4_096 });
    }
}
