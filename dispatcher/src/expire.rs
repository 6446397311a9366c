//! Deadlines that have passed end their tasks (rule 12).
//!
//! The server's own scheduler fires them, and the dispatchers take them (`fired.rs`). Workers check deadlines too, and for
//! tasks that nobody holds that would not do: those would expire only once somebody takes them.
//!
//! How many tasks are expired at once is bounded over all queues.

mod taken;

use std::sync::Arc;

use async_nats::jetstream::Message;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::{DelayPart, Names};

use crate::dispatcher::Dispatcher;
use crate::fired::{self, Firing};
use crate::limits::EXPIRES_MAX;
use taken::Taken;

/// Takes deadlines of every queue until `stop`, then finishes those that it has taken.
pub(crate) async fn serve(dispatcher: Dispatcher, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(EXPIRES_MAX));
    let of = |queue| Deadlines { dispatcher: dispatcher.clone(), queue, places: Arc::clone(&places) };
    fired::serve(dispatcher.clone(), of, stop).await;
}

/// Those of one queue.
#[derive(Clone)]
struct Deadlines {
    dispatcher: Dispatcher,
    queue: QueueName,
    /// Shared with the other queues.
    places: Arc<Semaphore>,
}

impl Firing for Deadlines {
    const WHAT: &'static str = "deadlines";
    const PART: DelayPart = DelayPart::Expired;

    fn consumer(names: &Names) -> &'static str {
        names.expired_consumer()
    }

    async fn finish(self, message: Message) {
        Taken::new(self.dispatcher, self.queue, message).finish(&self.places).await;
    }
}
