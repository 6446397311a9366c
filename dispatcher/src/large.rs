//! How much of large requests and answers is in memory at once.
//!
//! What is streamed needs no such account; what must be whole, because it is read against its kind or becomes JSON, is
//! counted here first, and refused where there is no room. A bound on the number of requests would be a bound for the
//! largest of them, and far too low for all others. A queue of those who wait was the alternative, and would hold their
//! connections and half-read bodies instead of telling them when to come again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounds::Bound;
use crate::error::{ApiError, Code};
use crate::limits::{LARGE_BYTES_MAX, LARGE_RETRY_AFTER_MS};
use crate::places::taken_of;

/// The unit that is counted in: a semaphore cannot count to very many.
const UNIT_BYTES: usize = 64 * 1024;
const UNITS: usize = LARGE_BYTES_MAX / UNIT_BYTES;

/// The account.
#[derive(Debug, Clone)]
pub(crate) struct Large {
    left: Arc<Semaphore>,
}

/// A share of the account, given back with the last drop.
#[derive(Debug)]
pub(crate) struct Held {
    account: Large,
    units: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Large {
    pub(crate) fn new() -> Self {
        Self { left: Arc::new(Semaphore::new(UNITS)) }
    }

    /// How much of it is held.
    pub(crate) fn used(&self) -> Bound {
        taken_of("large_bytes_max", &self.left, LARGE_BYTES_MAX, UNIT_BYTES)
    }

    /// Nothing yet.
    pub(crate) fn hold_nothing(&self) -> Held {
        Held { account: self.clone(), units: 0, permit: None }
    }

    /// Room for so many bytes. Who needs more than the whole account gets it where nobody else has anything.
    ///
    /// # Errors
    /// `rate_limited` where there is none.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, ApiError> {
        let mut held = self.hold_nothing();
        held.grow_to(bytes)?;
        Ok(held)
    }
}

impl Held {
    /// Whether it is no share at all.
    pub(crate) fn is_nothing(&self) -> bool {
        self.units == 0
    }

    /// Makes it enough for so many bytes.
    ///
    /// # Errors
    /// `rate_limited` where there is no room for more.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = bytes.div_ceil(UNIT_BYTES).min(UNITS);
        let Some(more) = wanted.checked_sub(self.units).filter(|more| *more > 0) else { return Ok(()) };
        let more_units = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.account.left).try_acquire_many_owned(more_units).map_err(|_| {
            let detail = "too many large payloads and outputs are in memory at this moment";
            ApiError::new(Code::RateLimited, detail).retry_after_ms(LARGE_RETRY_AFTER_MS)
        })?;
        self.units = wanted;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LARGE_BYTES_MAX, Large};
    use crate::error::Code;

    #[test]
    fn what_is_held_is_refused_to_others_until_it_is_given_back() {
        let large = Large::new();
        let mut first = large.hold(LARGE_BYTES_MAX / 2).expect("room");
        let refused = large.hold(LARGE_BYTES_MAX / 2 + 1).expect_err("no room");
        assert_eq!((refused.code, refused.retry_after_ms.is_some()), (Code::RateLimited, true));
        let second = large.hold(LARGE_BYTES_MAX / 2).expect("room for exactly that");
        assert!(first.grow_to(LARGE_BYTES_MAX / 2 + 1).is_err());
        drop(second);
        first.grow_to(LARGE_BYTES_MAX).expect("there is room again");
        assert!(large.hold(1).is_err());
        drop(first);
        drop(large.hold(LARGE_BYTES_MAX * 3).expect("alone, even more than there is"));
        large.hold(1).expect("room");
    }
}
