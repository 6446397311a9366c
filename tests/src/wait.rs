//! Waiting on conditions. A test that sleeps is slow on a fast machine and wrong on a slow one.

use std::time::{Duration, Instant};

/// How long a test waits for what must come. Long, since it is only used up by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until there is something to see, for at most 30 s.
///
/// # Panics
/// When it does not come; the message says `what`.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// The same with a limit of its own.
///
/// # Panics
/// When it does not come; the message says `what`.
pub async fn eventually_within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
