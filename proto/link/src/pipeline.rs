//! Publishes that wait for their own outcome.
//!
//! Callers hand a message over and await what became of it; one place per stream decides how many travel together. It
//! sends them one by one now, with many acknowledgements under way; adaptive atomic batches can take its place without
//! a change for any caller. The alternative, every caller awaiting its own round trip on the context, has no such place.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishError as NatsError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode, message::PublishMessage};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use workfleet_proto::names::header;

use crate::broker::Broker;

/// Messages handed over and not yet sent.
const WAITING_MAX: usize = 1_024;
/// Messages taken and not yet acknowledged.
const INFLIGHT_MAX: usize = 1_024;
/// How long a message may wait for room in the client, as when the broker is gone and its buffer full.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

const WRONG_LAST_SEQUENCE: u64 = 10_071;
const CAS_IN_FLIGHT: u64 = 10_164;
const DUPLICATE_IN_FLIGHT: u64 = 10_158;
const STREAM_FULL: [u64; 4] = [10_077, 10_047, 10_023, 10_122];

/// A message for a stream.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where to.
    pub subject: String,
    /// Headers, less those of the two fields below.
    pub headers: HeaderMap,
    /// The body.
    pub payload: Bytes,
    /// A repeat with the same id within the stream's window is acknowledged and not stored.
    pub message_id: Option<String>,
    /// Compare-and-set: refused unless this is the last sequence on the subject (0: none).
    pub expected_sequence: Option<u64>,
}

impl Publish {
    /// A message with neither headers, id nor condition.
    #[must_use]
    pub fn new(subject: String, payload: Bytes) -> Self {
        Self { subject, headers: HeaderMap::new(), payload, message_id: None, expected_sequence: None }
    }
}

/// The message is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Where in the stream.
    pub sequence: u64,
    /// Whether an earlier publish with the same id had stored it already.
    pub duplicate: bool,
}

/// The message is not stored, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// 10071: the last sequence on the subject is another one; somebody was first.
    #[error("somebody was first: the subject holds another sequence")]
    Lost,
    /// 10164 or 10158: a write to the same subject or with the same id is under way. Try again; this is no loss.
    #[error("a write to the same subject is under way")]
    InFlight,
    /// The stream, or the store below it, has no room.
    #[error("the stream is full")]
    Full,
    /// No stream takes this subject.
    #[error("no stream takes {subject} now: its leader is away, or `workfleet provision` has not run")]
    NoStream {
        /// The subject.
        subject: String,
    },
    /// No acknowledgement came: the message may have been stored.
    #[error("the broker did not answer in time; the message may have been stored")]
    Unanswered,
    /// The broker takes no message of this size.
    #[error("the message is larger than the broker allows")]
    TooLarge,
    /// Any other refusal.
    #[error("the broker refused ({code}): {text}")]
    Refused {
        /// JetStream's error code.
        code: u64,
        /// What it says.
        text: String,
    },
    /// The pipeline was closed.
    #[error("the connection is closed")]
    Closed,
}

type Outcome = Result<Stored, PublishError>;

struct Handed {
    message: Publish,
    outcome: oneshot::Sender<Outcome>,
}

/// The way into one stream. Cheap to clone; ends when the last clone is dropped, after its last outcome.
#[derive(Debug, Clone)]
pub struct Pipeline {
    hand_over: mpsc::Sender<Handed>,
}

impl Pipeline {
    /// Starts a pipeline on the current runtime.
    #[must_use]
    pub fn start(broker: &Broker) -> Self {
        let (hand_over, handed) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(broker.jetstream.clone(), handed));
        Self { hand_over }
    }

    /// Publishes, and waits until the stream has stored the message on all its replicas.
    ///
    /// # Errors
    /// See [`PublishError`]; only [`Unanswered`](PublishError::Unanswered) and
    /// [`InFlight`](PublishError::InFlight) leave open whether it was stored.
    pub async fn publish(&self, message: Publish) -> Outcome {
        let (outcome, wait) = oneshot::channel();
        self.hand_over.send(Handed { message, outcome }).await.map_err(|_| PublishError::Closed)?;
        wait.await.unwrap_or(Err(PublishError::Closed))
    }
}

async fn run(jetstream: jetstream::Context, mut handed: mpsc::Receiver<Handed>) {
    let mut underway = FuturesUnordered::new();
    loop {
        tokio::select! {
            next = handed.recv(), if underway.len() < INFLIGHT_MAX => match next {
                Some(handed) => underway.push(carry(&jetstream, handed)),
                None => break,
            },
            Some(()) = underway.next() => {}
        }
    }
    while underway.next().await.is_some() {}
}

/// Sends a message and waits for its acknowledgement.
///
/// Sending may have to wait too, for room in the client or for one of the acknowledgements that all pipelines share. It
/// waits in here, beside the acknowledgements and not in their way: a loop that waited to send would not take the very
/// acknowledgements that make room. Messages may overtake each other here, as where tokio makes some of the futures pause
/// and wakes them last one first: who needs an order uses [`send_next`].
async fn carry(jetstream: &jetstream::Context, Handed { message, outcome }: Handed) {
    let answer = match send_next(jetstream, message).await {
        Ok(acknowledged) => acknowledged.await,
        Err(error) => Err(error),
    };
    // Who no longer waits does not want to know.
    let _ = outcome.send(answer);
}

/// Sends a message, and gives what waits for its acknowledgement. Messages are stored in the order in which they are
/// sent, so who sends the next one only after this has returned has them in order, however many are not acknowledged.
pub(crate) async fn send_next(
    jetstream: &jetstream::Context,
    message: Publish,
) -> Result<impl Future<Output = Result<Stored, PublishError>> + Send + use<>, PublishError> {
    let subject = message.subject.clone();
    let acknowledgement = match tokio::time::timeout(SEND_TIME_MAX, send(jetstream, message)).await {
        Ok(Ok(acknowledgement)) => acknowledgement,
        Ok(Err(error)) => return Err(translate(&subject, &error)),
        Err(_) => return Err(PublishError::Unanswered),
    };
    Ok(async move {
        match acknowledgement.await {
            Ok(stored) => Ok(Stored { sequence: stored.sequence, duplicate: stored.duplicate }),
            Err(error) => Err(translate(&subject, &error)),
        }
    })
}

async fn send(jetstream: &jetstream::Context, message: Publish) -> Result<PublishAckFuture, NatsError> {
    let Publish { subject, mut headers, payload, message_id, expected_sequence } = message;
    if let Some(id) = message_id {
        headers.insert(header::MESSAGE_ID, id);
    }
    if let Some(expected) = expected_sequence {
        headers.insert(header::EXPECTED_SEQUENCE, expected.to_string());
    }
    let message = PublishMessage::build().payload(payload).headers(headers);
    jetstream.send_publish(subject, message).await
}

fn translate(subject: &str, error: &NatsError) -> PublishError {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    if let Some(refusal) = source {
        return refused(refusal.error_code(), refusal.to_string());
    }
    match error.kind() {
        PublishErrorKind::WrongLastSequence => PublishError::Lost,
        PublishErrorKind::StreamNotFound => PublishError::NoStream { subject: subject.to_owned() },
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => PublishError::Unanswered,
        PublishErrorKind::MaxAckPending => PublishError::InFlight,
        PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
        // An answer that cannot be read says nothing of what the stream did.
        PublishErrorKind::WrongLastMessageId | PublishErrorKind::Other => PublishError::Unanswered,
    }
}

fn refused(code: ErrorCode, text: String) -> PublishError {
    match code.0 {
        WRONG_LAST_SEQUENCE => PublishError::Lost,
        CAS_IN_FLIGHT | DUPLICATE_IN_FLIGHT => PublishError::InFlight,
        code if STREAM_FULL.contains(&code) => PublishError::Full,
        code => PublishError::Refused { code, text },
    }
}
