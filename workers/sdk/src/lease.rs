//! Keeps a delivery while it is held, and knows whether it still is.
//!
//! Every quarter of the lease the worker tells the broker that it goes on, and waits for the answer: the lease runs from
//! the moment at which a *confirmed* renewal was sent. A renewal that is only published may sit in a buffer while the
//! broker has given the task away. All times are the monotonic clock's. This file sends nothing but `+WPI`; what settles
//! a delivery is `settle`'s alone.
//!
//! A lease that ran out once has lapsed for good: another worker may have had the task in between. It is renewed even
//! so for the time of two more leases, since after a broker's restart the task is most likely still here, and would
//! otherwise run twice. No longer: the broker takes a renewal for that of whoever has the task now, and that worker may
//! be dead.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Subject};
use bytes::Bytes;
use workfleet_proto::settlement;

use crate::events::Events;

/// Renewals in the time of one lease.
const RENEWALS_PER_LEASE: u32 = 4;
/// Leases after a lapse in which it is still renewed.
const LEASES_AFTER_LAPSE: u32 = 2;
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
    lapsed_at: Option<Instant>,
}

impl Lease {
    pub(crate) fn new(client: Client, ack: Subject, length: Duration, received_at: Instant) -> Self {
        Self { client, ack, term: Mutex::new(Term { length, confirmed_at: received_at, lapsed_at: None }) }
    }

    /// Whether the delivery is surely still ours.
    pub(crate) fn state(&self) -> settlement::Lease {
        self.with(|term| term.state(Instant::now()))
    }

    /// Waits until it has lapsed.
    pub(crate) async fn lapsed(&self) {
        while self.state() == settlement::Lease::Held {
            let ends_at = self.with(|term| term.confirmed_at + term.length);
            tokio::time::sleep_until(ends_at.into()).await;
        }
    }

    /// Renews, until a lapse is too old. The event that the task runs is repeated with each renewal, so that it never looks older than
    /// the lease.
    pub(crate) async fn keep(&self, events: &Events) -> Infallible {
        let interval = self.with(|term| term.length) / RENEWALS_PER_LEASE;
        // A delivery that is old already is renewed at once.
        let age = self.with(|term| term.confirmed_at.elapsed());
        tokio::time::sleep(interval.saturating_sub(age)).await;
        while self.with(|term| term.is_renewed(Instant::now())) {
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
        tracing::debug!("a lease that lapsed long ago is no longer renewed");
        std::future::pending().await
    }

    fn with<R>(&self, look: impl FnOnce(&mut Term) -> R) -> R {
        look(&mut self.term.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Term {
    fn state(&mut self, now: Instant) -> settlement::Lease {
        let ends_at = self.confirmed_at + self.length;
        if self.lapsed_at.is_none() && now >= ends_at {
            self.lapsed_at = Some(ends_at);
        }
        if self.lapsed_at.is_some() { settlement::Lease::Lapsed } else { settlement::Lease::Held }
    }

    fn is_renewed(&mut self, now: Instant) -> bool {
        // Looked at first: the lapse is not known before.
        let _ = self.state(now);
        self.lapsed_at.is_none_or(|at| now < at + self.length * LEASES_AFTER_LAPSE)
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
        let mut term = Term { length: Duration::from_secs(8), confirmed_at: start, lapsed_at: None };
        assert_eq!(term.state(at(7)), Lease::Held);
        term.confirm(at(6), at(7));
        assert_eq!(term.state(at(13)), Lease::Held);
        assert_eq!(term.state(at(14)), Lease::Lapsed);
    }

    #[test]
    fn a_renewal_that_comes_too_late_does_not_heal_a_lapse() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut term = Term { length: Duration::from_secs(8), confirmed_at: start, lapsed_at: None };
        term.confirm(at(7), at(9));
        assert_eq!(term.state(at(10)), Lease::Lapsed);
    }

    #[test]
    fn a_lapse_that_is_older_than_two_leases_is_not_renewed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut term = Term { length: Duration::from_secs(8), confirmed_at: start, lapsed_at: None };
        assert!(term.is_renewed(at(9)));
        term.confirm(at(9), at(10));
        assert!(term.is_renewed(at(23)));
        assert!(!term.is_renewed(at(24)), "what is confirmed after a lapse counts for nothing");
    }
}
