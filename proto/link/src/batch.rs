//! Many messages of a stream in one question: batched direct gets, which the client library has no call for.
//!
//! Any replica may answer, and one that is behind gives what was right a moment ago. So nothing here is for decisions;
//! those read from the leader, see [`read`](crate::read). It is for lists, whose reader looks again anyway. The
//! alternative, a consumer for each list, has state on the server that somebody would have to clean up.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::read::{ReadError, StoredMessage};

/// How long the broker may take for the next message of an answer.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Most messages, and most subjects, of one question: the server's own bound.
pub const BATCH_MESSAGES_MAX: usize = 1_024;

/// Which messages, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// The first sequence that may be among them.
    pub from: u64,
    /// Only subjects that match. It costs the server a look at its whole index: leave it out where everything matches.
    pub filter: Option<&'a str>,
    /// Most messages.
    pub messages_max: usize,
    /// The message with which so many bytes are reached is the last.
    pub bytes_max: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Batch {
    /// By sequence.
    pub messages: Vec<StoredMessage>,
    /// How many more there are behind them.
    pub pending: u64,
}

/// Messages from a sequence on, in their order.
///
/// # Errors
/// When there is no such stream, or nobody answers for it.
pub async fn range(broker: &Broker, stream: &str, range: Range<'_>) -> Result<Batch, ReadError> {
    let messages_max = range.messages_max.min(BATCH_MESSAGES_MAX);
    let mut question = json!({ "batch": messages_max, "max_bytes": range.bytes_max, "seq": range.from.max(1) });
    if let Some(filter) = range.filter {
        question["next_by_subj"] = Value::from(filter);
    }
    ask(broker, stream, &question).await
}

/// The last message on each of these subjects; the subjects that have none are left out. Whatever does not fit into
/// `bytes_max` is left out too.
///
/// # Errors
/// When there is no such stream, or nobody answers for it.
pub async fn last_on_subjects(
    broker: &Broker,
    stream: &str,
    subjects: &[String],
    bytes_max: usize,
) -> Result<Vec<StoredMessage>, ReadError> {
    let mut found = Vec::new();
    for subjects in subjects.chunks(BATCH_MESSAGES_MAX) {
        let question = json!({ "multi_last": subjects, "batch": subjects.len(), "max_bytes": bytes_max });
        found.append(&mut ask(broker, stream, &question).await?.messages);
    }
    Ok(found)
}

async fn ask(broker: &Broker, stream: &str, question: &Value) -> Result<Batch, ReadError> {
    let unanswered = |reason: String| ReadError::Unanswered { stream: stream.to_owned(), reason };
    let client = &broker.client;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| unanswered(error.to_string()))?;
    let asked = client.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, question.to_string().into());
    asked.await.map_err(|error| unanswered(error.to_string()))?;
    let mut batch = Batch::default();
    loop {
        let answer = tokio::time::timeout(MESSAGE_TIME_MAX, answers.next()).await;
        let Ok(Some(message)) = answer else { return Err(unanswered("it fell silent".to_owned())) };
        // 204 ends a batch; 404 is an empty one.
        match message.status.map(|status| status.as_u16()) {
            None => {
                let message = StreamMessage::try_from(message).map_err(|error| unanswered(error.to_string()))?;
                batch.messages.push(message.into());
            }
            Some(204) => {
                let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Num-Pending"));
                batch.pending = pending.and_then(|value| value.as_str().parse().ok()).unwrap_or(0);
                return Ok(batch);
            }
            Some(404) => return Ok(batch),
            Some(503) => return Err(ReadError::NoStream { stream: stream.to_owned() }),
            Some(code) => return Err(unanswered(format!("it says {code}"))),
        }
    }
}
