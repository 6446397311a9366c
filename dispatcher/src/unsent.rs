//! How many bytes of submits are here that the broker has not taken yet.
//!
//! A broker that is slow makes every submit stay for longer, and callers who are refused come again. So what they may leave
//! here is counted in bytes, whatever protocol it came by, and whoever finds no room is told at once when to come again. A
//! bound on the number of submits would be one for the largest of them. Large bodies have an account of their own (`large`), or
//! a few of those would refuse everybody.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounds::Bound;
use crate::error::{ApiError, Code};
use crate::limits::{BROKER_RETRY_AFTER_MS, SUBMITS_BYTES_MAX};
use crate::places::taken_of;

/// The unit that is counted in, and the least that a submit counts.
const UNIT_BYTES: usize = 1_024;

/// The most that a submit counts: what comes over the network and is larger is in the other account.
const SHARE_BYTES_MAX: usize = 1 << 20;

/// The account.
#[derive(Debug)]
pub(crate) struct Unsent {
    left: Arc<Semaphore>,
}

/// A share of it, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Unsent {
    pub(crate) fn new() -> Self {
        Self { left: Arc::new(Semaphore::new(SUBMITS_BYTES_MAX / UNIT_BYTES)) }
    }

    /// How much of it is held.
    pub(crate) fn used(&self) -> Bound {
        taken_of("submits_bytes_max", &self.left, SUBMITS_BYTES_MAX, UNIT_BYTES)
    }

    /// Room for a payload of so many bytes.
    ///
    /// # Errors
    /// `rate_limited` where there is none.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Share, ApiError> {
        let units = bytes.min(SHARE_BYTES_MAX) / UNIT_BYTES + 1;
        let permit = Arc::clone(&self.left).try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let permit = permit.map_err(|_| {
            let detail = format!(
                "{SUBMITS_BYTES_MAX} bytes of submits wait for the broker, which takes them slowly; nothing was accepted"
            );
            ApiError::new(Code::RateLimited, detail).retry_after_ms(BROKER_RETRY_AFTER_MS)
        })?;
        Ok(Share { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::{SHARE_BYTES_MAX, Unsent};
    use crate::error::Code;
    use crate::limits::SUBMITS_BYTES_MAX;

    #[test]
    fn what_fits_no_more_is_refused_until_something_went() {
        let unsent = Unsent::new();
        let mut held: Vec<_> = (0..).map_while(|_| unsent.hold(SHARE_BYTES_MAX).ok()).collect();
        assert_eq!(held.len(), SUBMITS_BYTES_MAX / SHARE_BYTES_MAX - 1, "each counts a little more than it has");
        let refused = unsent.hold(usize::MAX).expect_err("no room");
        assert!(refused.code == Code::RateLimited && refused.detail.contains("wait for the broker"), "{refused}");
        held.pop();
        unsent.hold(usize::MAX).expect("room again");
    }
}
