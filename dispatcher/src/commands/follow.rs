//! Follows a task to its end over server-sent events.
//!
//! A connection that breaks is no news about the task: it is taken up again behind the last event, with
//! `Last-Event-ID`, until nobody has answered for a while.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::fault::Fault;
use super::remote::{Client, next_bytes};
use super::sse::{Event, Parser};
use super::task::Task;

/// How long nobody may answer before we give up.
const UNANSWERED_MS_MAX: u64 = 60_000;
const RECONNECT_DELAY_MS_MIN: u64 = 100;
const RECONNECT_DELAY_MS_MAX: u64 = 5_000;

/// Calls `on_change` with every change, the end included, and returns the ended task.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    mut on_change: impl FnMut(&Task) -> Result<(), Fault>,
) -> Result<Task, Fault> {
    let mut place = Place::default();
    loop {
        match read(client, id, &mut place, &mut on_change).await {
            Ok(Some(task)) => return Ok(task),
            Ok(None) => {}
            Err(fault) if fault.is_passing() && place.may_try_again() => {}
            Err(fault) => return Err(fault),
        }
        place.pause().await;
    }
}

/// How far the stream has been read, and how the connection does.
#[derive(Debug, Default)]
struct Place {
    cursor: Option<String>,
    answered: Option<Instant>,
    failures: u32,
}

impl Place {
    fn reached(&mut self, event: &Event) {
        self.answered = Some(Instant::now());
        self.failures = 0;
        if event.id.is_some() {
            self.cursor.clone_from(&event.id);
        }
    }

    /// The very first connection is not tried again: a wrong URL should be said at once.
    fn may_try_again(&self) -> bool {
        self.answered.is_some_and(|last| last.elapsed() < Duration::from_millis(UNANSWERED_MS_MAX))
    }

    async fn pause(&mut self) {
        let delay_ms = RECONNECT_DELAY_MS_MIN.saturating_mul(1 << self.failures.min(10)).min(RECONNECT_DELAY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// One connection; `None` when it ended before the task did.
async fn read(
    client: &Client,
    id: &str,
    place: &mut Place,
    on_change: &mut impl FnMut(&Task) -> Result<(), Fault>,
) -> Result<Option<Task>, Fault> {
    let mut response = client.events(id, place.cursor.as_deref()).await?;
    let mut parser = Parser::default();
    while let Some(bytes) = next_bytes(&mut response, client).await? {
        for event in parser.feed(&bytes)? {
            place.reached(&event);
            let document: Value = serde_json::from_str(&event.data)
                .map_err(|error| Fault::Unreachable(format!("an event that is not JSON: {error}")))?;
            let task = Task::read(document)?;
            on_change(&task)?;
            if task.has_ended() {
                return Ok(Some(task));
            }
        }
    }
    Ok(None)
}
