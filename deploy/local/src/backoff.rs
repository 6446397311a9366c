//! How long a process that died has to wait.

use std::time::Duration;

/// First wait that is not nothing.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// Longest wait: short, since somebody sits in front of it.
const DELAY_MAX: Duration = Duration::from_secs(3);
/// A process that lived this long was well, and its next death is a first one.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// As Kubernetes does it (at once, then twice as long each time, and reset after a healthy life), only shorter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after a process died that had `lived`.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        let delay = match self.deaths {
            0 => Duration::ZERO,
            deaths => DELAY_FIRST.saturating_mul(1 << (deaths - 1).min(16)).min(DELAY_MAX),
        };
        self.deaths = self.deaths.saturating_add(1);
        delay
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_a_healthy_life_resets_it() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        assert_eq!(backoff.after(Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(backoff.after(short).as_millis(), 100);
    }

    #[test]
    fn a_process_that_dies_for_ever_waits_no_longer_than_the_limit() {
        let mut backoff = Backoff { deaths: u32::MAX };
        assert_eq!(backoff.after(Duration::ZERO), super::DELAY_MAX);
    }
}
