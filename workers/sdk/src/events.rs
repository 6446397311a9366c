//! What is said about a task while it runs, for whoever watches.
//!
//! Events are published and forgotten: none is a promise, none fails or slows a task, and a reader can tell the latest
//! by its sequence. States that must not be missed are results, and those are stored.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::watch;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{Event, Failure, State};

use crate::child;
use crate::context::Said;
use crate::station::Station;
use crate::task::Held;

/// Shortest time between two events of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The events of one attempt.
#[derive(Debug)]
pub(crate) struct Events {
    client: async_nats::Client,
    subject: String,
    /// The latest; `started_at_ms` is 0 until the handler starts, and nothing is said before.
    latest: Mutex<Event>,
}

impl Events {
    pub(crate) fn new(station: &Station, held: &Held) -> Self {
        let latest = Event {
            id: held.id.to_string(),
            state: State::Running.into(),
            run: held.copy.generation.run,
            attempt: held.attempt(),
            worker: station.worker.clone(),
            children: texts(&child::told(&held.envelope.children)),
            ..Default::default()
        };
        let subject = station.broker.names.event(&held.id);
        Self { client: station.broker.client.clone(), subject, latest: Mutex::new(latest) }
    }

    /// The handler starts.
    pub(crate) async fn running(&self, started_at_ms: i64) {
        self.say(|event| event.started_at_ms = started_at_ms).await;
    }

    /// Says the latest once more, if anything was said.
    pub(crate) async fn repeat(&self) {
        self.say(|_| {}).await;
    }

    /// The attempt failed, and its retry is stored.
    pub(crate) async fn retrying(&self, next_attempt_at_ms: i64, failure: Failure, children: &[TaskId]) {
        self.say(|event| {
            event.children = texts(children);
            event.state = State::Retrying.into();
            event.next_attempt_at_ms = Some(next_attempt_at_ms);
            event.failure = Some(failure);
        })
        .await;
    }

    /// Says what the handler says of its progress and its children, for ever; of many in a short time the latest.
    pub(crate) async fn follow(&self, mut said: watch::Receiver<Said>) -> Infallible {
        while said.changed().await.is_ok() {
            let Said { progress, children } = said.borrow_and_update().clone();
            self.say(|event| {
                event.progress = progress;
                event.children = texts(&children);
            })
            .await;
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
        // Every context of the attempt is gone, so nobody can say anything more.
        std::future::pending().await
    }

    async fn say(&self, change: impl FnOnce(&mut Event)) {
        let body = {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut latest);
            if latest.started_at_ms == 0 {
                return;
            }
            latest.sequence += 1;
            latest.at_ms = now_ms();
            latest.encode_to_vec()
        };
        if let Err(error) = self.client.publish(self.subject.clone(), body.into()).await {
            tracing::debug!(%error, "an event is not sent");
        }
    }
}

fn texts(children: &[TaskId]) -> Vec<String> {
    children.iter().map(ToString::to_string).collect()
}
