//! Since when this process has surely been awake.
//!
//! A process that is frozen (SIGSTOP, a paused virtual machine) finds on waking what the broker sent long before, in
//! the socket's buffer. The moment of reading it says nothing about its age. But the pulse ticks on the loop that reads
//! the socket: whatever is read was not sent before the last tick but one, or the loop would have read it then. So a
//! message counts as received at the last tick, and right after a gap at the last tick before the gap. The broker's own
//! time stamp would need two clocks to agree.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it beats.
const BEAT: Duration = Duration::from_millis(200);
/// A longer gap means that the process was frozen, or starved.
const GAP_MAX: Duration = Duration::from_millis(1_000);
/// How long after a gap messages may still come out of buffers that were filled during it.
const SUSPECT_TIME: Duration = Duration::from_millis(1_000);

/// The pulse of the io loop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    beats: Arc<Mutex<Beats>>,
}

#[derive(Debug, Clone, Copy)]
struct Beats {
    last: Instant,
    /// The last beat before a gap, and until when it counts.
    suspect: Option<(Instant, Instant)>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { beats: Arc::new(Mutex::new(Beats { last: Instant::now(), suspect: None })) }
    }

    /// Beats for ever.
    pub(crate) async fn beat(&self) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.with(|beats| beats.beat(Instant::now()));
        }
    }

    /// The earliest moment at which something that is read now may have arrived.
    pub(crate) fn received_at(&self) -> Instant {
        self.with(|beats| beats.received_at(Instant::now()))
    }

    /// Whether the process has just been frozen, so that what is read now may be old. Nobody should ask for tasks then:
    /// each would be left for its age, make room for the next, and so on through the whole queue.
    pub(crate) fn is_suspect(&self) -> bool {
        self.with(|beats| beats.is_suspect(Instant::now()))
    }

    /// How long the loop has not beaten.
    pub(crate) fn silence(&self) -> Duration {
        self.with(|beats| beats.last.elapsed())
    }

    fn with<R>(&self, look: impl FnOnce(&mut Beats) -> R) -> R {
        look(&mut self.beats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Beats {
    fn beat(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last);
        if gap > GAP_MAX {
            tracing::warn!(gap_ms = gap.as_millis(), "this process was frozen or starved");
            self.suspect = Some((self.last, now + SUSPECT_TIME));
        }
        self.last = now;
    }

    fn is_suspect(&self, now: Instant) -> bool {
        let before_the_first_beat = now.saturating_duration_since(self.last) > GAP_MAX;
        before_the_first_beat || self.suspect.is_some_and(|(_, until)| now < until)
    }

    fn received_at(&self, now: Instant) -> Instant {
        match self.suspect {
            Some((before, until)) if now < until => before,
            _ => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Beats;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_read_right_after_a_freeze_may_be_as_old_as_the_freeze() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut beats = Beats { last: start, suspect: None };
        beats.beat(at(200));
        assert_eq!(beats.received_at(at(300)), at(200));
        assert!(!beats.is_suspect(at(300)));
        // Frozen for ten seconds. What is read before the first beat, and shortly after it, is suspect.
        assert_eq!(beats.received_at(at(10_200)), at(200));
        assert!(beats.is_suspect(at(10_200)));
        beats.beat(at(10_201));
        assert_eq!(beats.received_at(at(10_300)), at(200));
        assert!(beats.is_suspect(at(10_300)));
        beats.beat(at(11_190));
        assert_eq!(beats.received_at(at(11_202)), at(11_190));
        assert!(!beats.is_suspect(at(11_202)));
    }
}
