//! Submits from within the fleet: requests on `wf.submit.<queue>`, answered by one dispatcher of a queue group.
//!
//! This is how handlers submit child tasks (rule 20), and a way for any NATS client. Workers could write into the streams
//! themselves, as clients without a dispatcher may; then each SDK would have to repeat admission, and a child could get
//! past what a queue has room for. The group is asked without JetStream in between: whoever asks waits for the answer,
//! asks again, and a second copy of the question would only be answered twice.
//!
//! Who can publish here is of the fleet: the trace in the headers is taken over, and a parent is believed. What a message
//! says is not. It may be anything at all, so nothing of it is trusted to be small, whole, or alone.
//!
//! An answer never has the task's output: a repeat may meet a task that has ended, and an answer that is too large for a
//! message would be none.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject, SubscribeError, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use opentelemetry::trace::FutureExt as _;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workfleet_link::telemetry::trace;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::{FleetSubmit, Problem, SubmitReply, Task};

use super::grpc::request;
use crate::admit::{Parent, Submit};
use crate::dispatcher::Dispatcher;
use crate::error::{ApiError, Code};
use crate::limits::{BROKER_RETRY_AFTER_MS, FLEET_SUBMIT_BYTES_MAX, FLEET_SUBMITS_MAX, SHUTDOWN_GRACE};

/// How long a refusal may take on its way out: without a broker it waits, and so would whatever comes behind it.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// How a subject begins that an answer may go to: an inbox, under whatever prefix, or the broker's own way back into
/// another account, which no client can name.
const ANSWERED: [&str; 2] = ["_INBOX", "_R_."];
/// When a submit that met too many others should come again.
const RETRY_AFTER_MS: u64 = 100;

/// A place in the group of those who answer.
#[derive(Debug)]
pub struct Submits(Subscriber);

impl Submits {
    /// Joins the group: what comes from now on is answered once [`serve`] runs. A reconnect renews it by itself.
    ///
    /// # Errors
    /// When the connection has been closed for good.
    pub async fn subscribe(dispatcher: &Dispatcher) -> Result<Self, SubscribeError> {
        let broker = dispatcher.broker();
        let group = broker.names.submit_group().to_owned();
        broker.client.queue_subscribe(broker.names.submit_everywhere(), group).await.map(Self)
    }
}

/// Answers until `stop`, then finishes what is under way and leaves the group.
pub async fn serve(submits: Submits, dispatcher: Dispatcher, stop: CancellationToken) {
    let mut messages = submits.0;
    let station =
        Station { dispatcher, places: Arc::new(Semaphore::new(FLEET_SUBMITS_MAX)), underway: TaskTracker::new() };
    while let Some(Some(message)) = stop.run_until_cancelled(messages.next()).await {
        if let Some(asked) = Asked::read(message) {
            station.take(asked).await;
        }
    }
    if tokio::time::timeout(SHUTDOWN_GRACE, station.leave(messages)).await.is_err() {
        tracing::warn!("submits from within the fleet were cut off: they did not finish in time");
    }
}

struct Station {
    dispatcher: Dispatcher,
    places: Arc<Semaphore>,
    underway: TaskTracker,
}

impl Station {
    async fn take(&self, asked: Asked) {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => drop(self.underway.spawn(asked.answer(self.dispatcher.clone(), place))),
            Err(_) => {
                let detail = format!("this dispatcher has {FLEET_SUBMITS_MAX} submits from within the fleet at once");
                let error = ApiError::new(Code::RateLimited, detail).retry_after_ms(RETRY_AFTER_MS);
                // Whoever hears nothing asks again.
                let _ = tokio::time::timeout(REFUSAL_TIME_MAX, self.refuse(asked, &error)).await;
            }
        }
    }

    async fn refuse(&self, asked: Asked, error: &ApiError) {
        send(&self.dispatcher, asked.reply, Err(error)).await;
    }

    /// What the broker has sent already would be lost with us: whoever asked is told at once, and asks another. Only
    /// what crosses with our leaving gets no answer, since the client forgets a subscription as soon as it has said so;
    /// it is not taken, and asked again.
    async fn leave(&self, mut messages: Subscriber) {
        if self.dispatcher.broker().is_connected() && messages.drain().await.is_ok() {
            let stopping = ApiError::new(Code::BrokerUnavailable, "this dispatcher is stopping; ask again")
                .retry_after_ms(BROKER_RETRY_AFTER_MS);
            while let Some(message) = messages.next().await {
                if let Some(asked) = Asked::read(message) {
                    self.refuse(asked, &stopping).await;
                }
            }
        }
        self.underway.close();
        self.underway.wait().await;
    }
}

/// A message that somebody waits for an answer to.
struct Asked {
    reply: Subject,
    message: Message,
}

impl Asked {
    /// `None` where nobody would learn what came of it: such a submit is not taken. Nor is one whose answer is wanted
    /// anywhere but in an inbox: the broker lets us publish where it does not let a worker, into other queues for one.
    fn read(mut message: Message) -> Option<Self> {
        let reply = message.reply.take()?;
        if !ANSWERED.iter().any(|prefix| reply.starts_with(prefix)) {
            tracing::warn!(subject = %message.subject, %reply, "a submit whose answer is wanted elsewhere than in an inbox");
            return None;
        }
        Some(Self { reply, message })
    }

    async fn answer(self, dispatcher: Dispatcher, place: OwnedSemaphorePermit) {
        let sender = self.message.headers.as_ref().map(trace::extract).unwrap_or_default();
        let submit = submit(&dispatcher, &self.message).with_context(sender);
        let submitted = AssertUnwindSafe(submit).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(subject = %self.message.subject, "a submit from within the fleet panicked");
            Err(ApiError::new(Code::Internal, "a mistake of the dispatcher's; its log has more"))
        });
        send(&dispatcher, self.reply, submitted.as_ref()).await;
        drop(place);
    }
}

async fn submit(dispatcher: &Dispatcher, message: &Message) -> Result<Task, ApiError> {
    let (submit, parent) = read(message)?;
    let task = Task::from(dispatcher.submit_of_fleet(submit, parent.as_ref()).await?);
    Ok(Task { output: None, output_json: None, ..task })
}

/// The submit that a message asks for. Its subject names the queue: that is what the broker's permissions are about.
fn read(message: &Message) -> Result<(Submit, Option<Parent>), ApiError> {
    let bytes = message.payload.len();
    if bytes > FLEET_SUBMIT_BYTES_MAX {
        let detail = format!("the submit has {bytes} bytes; the limit is {FLEET_SUBMIT_BYTES_MAX} bytes");
        return Err(ApiError::new(Code::PayloadTooLarge, detail));
    }
    let asked = FleetSubmit::decode(message.payload.clone()).map_err(|error| {
        ApiError::new(Code::InvalidPayload, format!("the body is no workfleet.v1.FleetSubmit: {error}"))
    })?;
    let mut submit = request::submit(asked.submit.unwrap_or_default())?;
    let queue = message.subject.rsplit('.').next().unwrap_or_default();
    if !submit.queue.is_empty() && submit.queue != queue {
        let detail = format!("the subject is that of the queue {queue:?}, and the submit names another");
        return Err(ApiError::invalid_option("queue", detail));
    }
    queue.clone_into(&mut submit.queue);
    if submit.wait.is_some() {
        let detail = "a submit from within the fleet does not wait: a slot that waits for another task holds it up";
        return Err(ApiError::invalid_option("wait_ms", detail));
    }
    Ok((submit, asked.parent.map(Parent::try_from).transpose()?))
}

async fn send(dispatcher: &Dispatcher, reply: Subject, submitted: Result<&Task, &ApiError>) {
    let answer = match submitted {
        Ok(task) => Reply::Task(task.clone()),
        Err(error) => Reply::Problem(Problem::from(error)),
    };
    let body = SubmitReply { line: 0, reply: Some(answer) }.encode_to_vec();
    if let Err(error) = dispatcher.broker().client.publish(reply, body.into()).await {
        tracing::debug!(%error, "an answer to a submit is not sent");
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, FLEET_SUBMIT_BYTES_MAX, read};
    use crate::error::{ApiError, Code};
    use async_nats::Message;
    use bytes::Bytes;
    use prost::Message as _;
    use workfleet_proto::v1::submit_request::Payload;
    use workfleet_proto::v1::{FleetSubmit, Parent, SubmitRequest};

    fn message(payload: Bytes) -> Message {
        let length = payload.len();
        let (subject, reply) = ("wf.submit.mail".into(), Some("_INBOX.1".into()));
        Message { subject, reply, payload, headers: None, status: None, description: None, length }
    }

    fn asked(submit: SubmitRequest) -> Message {
        message(FleetSubmit { submit: Some(submit), parent: None }.encode_to_vec().into())
    }

    fn request() -> SubmitRequest {
        SubmitRequest { payload: Some(Payload::Json("{}".to_owned())), ..SubmitRequest::default() }
    }

    fn refused(message: &Message) -> ApiError {
        read(message).expect_err("no submit")
    }

    #[test]
    fn the_subject_names_the_queue_and_the_message_may_repeat_it() {
        for queue in ["", "mail"] {
            let (submit, parent) = read(&asked(SubmitRequest { queue: queue.to_owned(), ..request() })).expect("fine");
            assert_eq!((submit.queue.as_str(), parent), ("mail", None));
        }
        let other = refused(&asked(SubmitRequest { queue: "post".to_owned(), ..request() }));
        assert_eq!((other.code, other.field.as_deref()), (Code::InvalidOption, Some("queue")));
    }

    #[test]
    fn an_answer_goes_to_an_inbox_and_nowhere_else() {
        for inbox in ["_INBOX.1", "_INBOX_worker-mail.1.2", "_R_.a.b"] {
            let asked = Asked::read(Message { reply: Some(inbox.into()), ..asked(request()) }).expect("it is taken");
            assert_eq!(asked.reply.as_str(), inbox);
        }
        for elsewhere in ["wf.task.mail.q.m.mail_01h455vb4pex5vsknk084sn02q", "$JS.API.STREAM.PURGE.TASKS_mail", "x"] {
            assert!(
                Asked::read(Message { reply: Some(elsewhere.into()), ..asked(request()) }).is_none(),
                "{elsewhere}"
            );
        }
        assert!(Asked::read(Message { reply: None, ..asked(request()) }).is_none());
    }

    #[test]
    fn nobody_waits_here() {
        let waiting = refused(&asked(SubmitRequest { wait_ms: Some(5), ..request() }));
        assert_eq!((waiting.code, waiting.field.as_deref()), (Code::InvalidOption, Some("wait_ms")));
        assert!(read(&asked(SubmitRequest { wait_ms: Some(0), ..request() })).is_ok());
    }

    #[test]
    fn what_is_no_submit_is_refused() {
        for bytes in [&b"\xff\xff\xff"[..], b"", b"not protobuf", b"\x0a\xff\xff\xff\xff\x0f"] {
            assert_eq!(refused(&message(Bytes::copy_from_slice(bytes))).code, Code::InvalidPayload, "{bytes:?}");
        }
        let large = message(Bytes::from(vec![0; FLEET_SUBMIT_BYTES_MAX + 1]));
        assert_eq!(refused(&large).code, Code::PayloadTooLarge);
        let orphan = FleetSubmit { submit: Some(request()), parent: Some(Parent::default()) };
        assert_eq!(refused(&message(orphan.encode_to_vec().into())).field.as_deref(), Some("parent.id"));
    }
}
