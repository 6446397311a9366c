//! How much is done: a little of it within `make test`, all of it in `make chaos`.

use std::time::Duration;

/// What a row does beside its fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// Tasks that are accepted at least.
    pub(crate) tasks_min: usize,
    /// Before the first blow: long enough to know the rate.
    pub(crate) warm_up: Duration,
    /// Between two blows.
    pub(crate) pause: Duration,
    /// Of a hundred blows of the full form, so many are struck.
    strikes_percent: usize,
}

impl Form {
    /// `make chaos` asks for the full form.
    pub(crate) fn chosen() -> Self {
        if is_full() {
            Self {
                tasks_min: 5_000,
                warm_up: Duration::from_secs(6),
                pause: Duration::from_secs(2),
                strikes_percent: 100,
            }
        } else {
            Self { tasks_min: 200, warm_up: Duration::from_secs(3), pause: Duration::from_secs(1), strikes_percent: 40 }
        }
    }

    /// How often it strikes where the full form strikes so often: never not at all.
    pub(crate) fn strikes(self, full: usize) -> usize {
        (full * self.strikes_percent / 100).max(1)
    }
}

pub(crate) fn is_full() -> bool {
    std::env::var("WORKFLEET_CHAOS").is_ok_and(|form| form == "full")
}
