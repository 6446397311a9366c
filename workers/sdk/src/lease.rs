//! Keeps a delivery while it is held, and knows whether it still is.
//!
//! Every quarter of the lease the worker tells the broker that it goes on, and waits for the answer: the lease runs from
//! the moment at which a *confirmed* renewal was sent. A renewal that is only published may sit in a buffer while the
//! broker has given the task away. All times are the monotonic clock's. This file sends nothing but `+WPI`; what settles
//! a delivery is `settle`'s alone.
//!
//! A lease that ran out once has lapsed for good: another worker may have had the task in between. It is renewed even
//! so, since after a broker's restart the task is most likely still here, and would otherwise run twice.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Subject};
use bytes::Bytes;
use workfleet_proto::settlement;

use crate::events::Events;

/// Renewals in the time of one lease.
const RENEWALS_PER_LEASE: u32 = 4;
/// What says: still at it.
const IN_PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// The lease on one delivery.
#[derive(Debug)]
pub(crate) struct Lease {
    client: Client,
    ack: Subject,
    term: Mutex<Term>,
}

#[derive(Debug, Clone, Copy)]
struct Term {
    length: Duration,
    confirmed_at: Instant,
    lapsed: bool,
}

impl Lease {
    pub(crate) fn new(client: Client, ack: Subject, length: Duration, received_at: Instant) -> Self {
        Self { client, ack, term: Mutex::new(Term { length, confirmed_at: received_at, lapsed: false }) }
    }

    /// Whether the delivery is surely still ours.
    pub(crate) fn state(&self) -> settlement::Lease {
        self.with(|term| term.state(Instant::now()))
    }

    /// Renews for ever. The event that the task runs is repeated with each renewal, so that it never looks older than
    /// the lease.
    pub(crate) async fn keep(&self, events: &Events) -> Infallible {
        let interval = self.with(|term| term.length) / RENEWALS_PER_LEASE;
        // A delivery that is old already is renewed at once.
        let age = self.with(|term| term.confirmed_at.elapsed());
        tokio::time::sleep(interval.saturating_sub(age)).await;
        loop {
            let sent_at = Instant::now();
            let answer = tokio::time::timeout(interval, self.client.request(self.ack.clone(), IN_PROGRESS)).await;
            match answer {
                Ok(Ok(_)) => self.with(|term| term.confirm(sent_at, Instant::now())),
                Ok(Err(error)) => tracing::debug!(%error, "a lease is not renewed"),
                Err(_) => tracing::debug!("a lease is not renewed: no answer"),
            }
            events.repeat().await;
            tokio::time::sleep(interval.saturating_sub(sent_at.elapsed())).await;
        }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Term) -> R) -> R {
        look(&mut self.term.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Term {
    fn state(&mut self, now: Instant) -> settlement::Lease {
        self.lapsed |= now >= self.confirmed_at + self.length;
        if self.lapsed { settlement::Lease::Lapsed } else { settlement::Lease::Held }
    }

    fn confirm(&mut self, sent_at: Instant, now: Instant) {
        // Looked at first: a confirmation that comes too late does not heal a lapse.
        let _ = self.state(now);
        self.confirmed_at = sent_at;
    }
}

#[cfg(test)]
mod tests {
    use super::Term;
    use std::time::{Duration, Instant};
    use workfleet_proto::settlement::Lease;

    #[test]
    fn a_lease_runs_from_the_last_renewal_that_was_confirmed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut term = Term { length: Duration::from_secs(8), confirmed_at: start, lapsed: false };
        assert_eq!(term.state(at(7)), Lease::Held);
        term.confirm(at(6), at(7));
        assert_eq!(term.state(at(13)), Lease::Held);
        assert_eq!(term.state(at(14)), Lease::Lapsed);
    }

    #[test]
    fn a_renewal_that_comes_too_late_does_not_heal_a_lapse() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut term = Term { length: Duration::from_secs(8), confirmed_at: start, lapsed: false };
        term.confirm(at(7), at(9));
        assert_eq!(term.state(at(10)), Lease::Lapsed);
    }
}
