//! What the log is told of refusals.
//!
//! Callers that are known, or were, are named: after a rotation that is how the one with the old token is found. They
//! have lines of their own, so that a stranger who sends bad JWTs in a loop cannot push them out. That somebody has no
//! token, or a wrong one, is counted alone; whoever wants a line of each has the level `debug`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use workfleet_link::telemetry::attribute;

use super::grant::Grant;
use super::refusal::Refusal;
use crate::error::ApiError;

/// Refusals of either sort that are logged in a second; a caller in a loop is not to fill the log.
const LINES_PER_SECOND_MAX: u32 = 10;

/// Tells of refusals, and not of too many.
#[derive(Default)]
pub(super) struct Told {
    known: Lines,
    strangers: Lines,
}

impl Told {
    /// A known caller may not do what it asked for.
    pub(super) fn forbidden(&self, grant: &Grant, refused: &ApiError) {
        if self.known.one_more() {
            tracing::info!({ attribute::CLIENT } = grant.name, "a request is refused: {refused}");
        }
    }

    /// It is not known who a caller is.
    pub(super) fn stranger(&self, refusal: &Refusal) {
        let reason = refusal.reason();
        match refusal {
            Refusal::ExpiredToken { name } if self.known.one_more() => {
                tracing::info!({ attribute::CLIENT } = name, reason, "a request is refused: {refusal}");
            }
            Refusal::Jwt(_) if self.strangers.one_more() => {
                tracing::info!(reason, "a request is refused: {refusal}");
            }
            _ => tracing::debug!(reason, "a request is refused: {refusal}"),
        }
    }
}

/// How many lines were logged since when.
#[derive(Default)]
struct Lines(Mutex<Option<(Instant, u32)>>);

impl Lines {
    /// Whether there may be one more in this second.
    fn one_more(&self) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) =
            lines.filter(|(since, _)| since.elapsed() < Duration::from_secs(1)).unwrap_or((Instant::now(), 0));
        *lines = Some((since, count.saturating_add(1)));
        count < LINES_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES_PER_SECOND_MAX, Lines};
    use std::time::{Duration, Instant};

    #[test]
    fn a_loop_does_not_fill_the_log() {
        let lines = Lines::default();
        let told = (0..1_000).filter(|_| lines.one_more()).count();
        let max = LINES_PER_SECOND_MAX as usize;
        // A slow machine may begin another second.
        assert!((max..=3 * max).contains(&told), "{told}");
        *lines.0.lock().expect("whole") = Instant::now().checked_sub(Duration::from_secs(1)).map(|at| (at, 1_000));
        assert!(lines.one_more(), "another second");
    }
}
