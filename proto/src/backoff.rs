//! How long a retry waits: exponential, capped, with full jitter.
//!
//! Full jitter (a random time between nothing and the cap, "Exponential Backoff And Jitter", Amazon Architecture Blog,
//! 2015) rather than a fixed delay with a little noise: many tasks that failed together on one outage must not come
//! back together.

use std::time::Duration;

use crate::v1;

/// The longest that the attempt after `attempt` (from 1) may wait: `min(max, base * 2^(attempt - 1))`.
#[must_use]
pub fn ceiling(policy: &v1::Backoff, attempt: u32) -> Duration {
    let base_ms = u64::try_from(policy.base_ms).unwrap_or(0);
    let max_ms = u64::try_from(policy.max_ms).unwrap_or(0);
    let doublings = attempt.saturating_sub(1).min(63);
    Duration::from_millis(base_ms.saturating_mul(1 << doublings).min(max_ms))
}

/// The wait after `attempt`, with `random` from 0 (included) to 1 (excluded).
#[must_use]
pub fn delay(policy: &v1::Backoff, attempt: u32, random: f64) -> Duration {
    ceiling(policy, attempt).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::{ceiling, delay};
    use crate::v1::Backoff;
    use std::time::Duration;

    const POLICY: Backoff = Backoff { base_ms: 1_000, max_ms: 60_000 };

    #[test]
    fn the_ceiling_doubles_with_each_attempt_until_the_cap() {
        let seconds: Vec<u64> = (1..=8).map(|attempt| ceiling(&POLICY, attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_huge_attempt_does_not_overflow() {
        assert_eq!(ceiling(&POLICY, u32::MAX), Duration::from_secs(60));
        assert_eq!(ceiling(&Backoff { base_ms: i64::MAX, max_ms: 5 }, u32::MAX), Duration::from_millis(5));
    }

    #[test]
    fn jitter_covers_everything_from_nothing_to_the_ceiling() {
        assert_eq!(delay(&POLICY, 3, 0.0), Duration::ZERO);
        assert_eq!(delay(&POLICY, 3, 0.5), Duration::from_secs(2));
    }
}
