//! Tasks that are due are carried into their queue: out of `DELAY_<queue>`, where the server's scheduler has fired them or a
//! worker has handed them back, into `TASKS_<queue>`.
//!
//! A copy is acknowledged in the one stream once the other has it. A dispatcher that dies in between leaves it to another,
//! which stores it under the same message id; and whatever is stored twice all the same is looked up before it starts
//! (rule 5, `Wf-Check: carried`). In front of a full queue one of those that wait here asks for all of them.
//!
//! The queue could take them itself, as a source that the server moves, and did: a change of leaders lost some
//! (docs/decisions/0019). Workers could take them from `DELAY_<queue>` without any carrying; then whatever takes, counts,
//! lists, cancels or bounds the tasks of a queue would have two places to know.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use workfleet_link::broker::NatsHeaders;
use workfleet_link::pipeline::{Publish, PublishError, Stored};
use workfleet_link::read::ReadError;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::{DelayPart, Lane, Names, header};
use workfleet_proto::wire::CopyHeaders;

use crate::ask;
use crate::dispatcher::Dispatcher;
use crate::fired::{self, Firing, Then};
use crate::limits::{DUE_AGAIN, DUE_FULL_PAUSE, DUE_REFUSED_AGAIN, DUE_TIME_MAX};

/// Carries what is due in every queue until `stop`, then finishes what it has taken.
pub(crate) async fn serve(dispatcher: Dispatcher, stop: CancellationToken) {
    let of = |queue| Due { dispatcher: dispatcher.clone(), queue, was_full: Arc::default(), stop: stop.clone() };
    fired::serve(dispatcher.clone(), of, stop.clone()).await;
}

/// What is due in one queue.
#[derive(Clone)]
struct Due {
    dispatcher: Dispatcher,
    queue: QueueName,
    /// Who has it asks the queue for room, and leaves whether there was none.
    was_full: Arc<Mutex<bool>>,
    stop: CancellationToken,
}

/// The queue was full for too long, or this process stops.
const GIVEN_BACK: (&str, Then) = ("given_back", Then::Again(DUE_AGAIN));

impl Firing for Due {
    const WHAT: &'static str = "tasks that are due";
    const PART: DelayPart = DelayPart::Due;

    fn consumer(names: &Names) -> &'static str {
        names.due_consumer()
    }

    async fn finish(self, message: Message) {
        let (outcome, then) = match timeout(DUE_TIME_MAX, self.carry(&message)).await {
            Ok(done) => done,
            Err(_) => GIVEN_BACK,
        };
        self.dispatcher.metrics().due_carried(&self.queue, outcome);
        then.say(&message).await;
    }
}

impl Due {
    async fn carry(&self, message: &Message) -> (&'static str, Then) {
        let Some(copy) = copy(&self.dispatcher.broker().names, &self.queue, message) else {
            tracing::warn!(subject = %message.subject, "what is due is no task");
            return ("garbled", Then::Acknowledge);
        };
        match self.store(&copy).await {
            Err(PublishError::Full) => self.wait_for_room(message, &copy).await,
            outcome => said(&copy, outcome),
        }
    }

    async fn store(&self, copy: &Publish) -> Result<Stored, PublishError> {
        let stream = self.dispatcher.broker().names.tasks_stream(&self.queue);
        self.dispatcher.inner().publisher.store(&stream, copy.clone()).await
    }

    /// They take turns, so that one which the queue has no room for does not keep smaller ones out.
    async fn wait_for_room(&self, message: &Message, copy: &Publish) -> (&'static str, Then) {
        loop {
            match self.stop.run_until_cancelled(self.take_turn(message, copy)).await {
                Some(None) => {}
                Some(Some(done)) => return done,
                None => return GIVEN_BACK,
            }
        }
    }

    /// `None`: the queue is full.
    async fn take_turn(&self, message: &Message, copy: &Publish) -> Option<(&'static str, Then)> {
        let mut was_full = self.was_full.lock().await;
        if *was_full {
            sleep(DUE_FULL_PAUSE).await;
        }
        // Who empties a queue means those that wait for room too.
        match self.is_there(message).await {
            Ok(true) => {}
            Ok(false) => return Some(("gone", Then::Acknowledge)),
            Err(_) => return Some(("unclear", Then::Again(DUE_AGAIN))),
        }
        let outcome = self.store(copy).await;
        *was_full = matches!(outcome, Err(PublishError::Full));
        (!*was_full).then(|| said(copy, outcome))
    }

    /// Whether it is still in the delay stream.
    async fn is_there(&self, message: &Message) -> Result<bool, ReadError> {
        let broker = self.dispatcher.broker();
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        let there = ask::next_on(broker, &broker.names.delay_stream(&self.queue), sequence, &message.subject).await?;
        Ok(there.is_some_and(|there| there.sequence == sequence))
    }
}

/// What came of a publish, less that the queue is full.
fn said(copy: &Publish, outcome: Result<Stored, PublishError>) -> (&'static str, Then) {
    match outcome {
        Ok(stored) if stored.duplicate => ("stored_before", Then::Acknowledge),
        Ok(_) => ("carried", Then::Acknowledge),
        Err(error @ (PublishError::TooLarge | PublishError::Refused { .. })) => {
            tracing::warn!(subject = %copy.subject, %error, "what is due cannot be stored in its queue");
            ("refused", Then::Again(DUE_REFUSED_AGAIN))
        }
        Err(error) => {
            tracing::debug!(subject = %copy.subject, %error, "what is due cannot be carried now");
            ("unclear", Then::Again(DUE_AGAIN))
        }
    }
}

/// The copy as it goes into the queue. `None`: this is no task of this queue.
fn copy(names: &Names, queue: &QueueName, message: &Message) -> Option<Publish> {
    let mut tokens = message.subject.rsplit('.');
    let id: TaskId = tokens.next()?.parse().ok()?;
    let lane: Lane = tokens.next()?.parse().ok()?;
    // A subject with anything else in it would be taken by no worker, and found by no cancel.
    if id.queue() != *queue || message.subject.as_str() != names.delay_due(&id, lane) {
        return None;
    }
    let mut headers = HeaderMap::new();
    // What begins so was said to the stream that it comes from; to this one it would mean something else.
    let ours = message.headers.iter().flat_map(HeaderMap::iter).filter(|(name, _)| !is_the_servers(name.as_ref()));
    for (name, values) in ours {
        for value in values {
            headers.append(name.clone(), value.clone());
        }
    }
    // One whose headers nobody can read is for its worker to say so; it is known by its place alone.
    let message_id = match CopyHeaders::read(&NatsHeaders(&headers)) {
        Ok(copy) => copy.generation.message_id(&id),
        Err(_) => format!("{id}/due/{}", message.info().ok()?.stream_sequence),
    };
    headers.insert(header::CHECK, header::CARRIED);
    Some(Publish {
        headers,
        message_id: Some(message_id),
        ..Publish::new(names.task(&id, lane), message.payload.clone())
    })
}

fn is_the_servers(name: &str) -> bool {
    name.get(..header::NATS_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(header::NATS_PREFIX))
}
