//! Many messages of a stream in one question: batched direct gets, which the client library has no call for.
//!
//! Any replica may answer, and one that is behind gives what was right a moment ago. So nothing here is for decisions;
//! those read from the leader, see [`read`](crate::read). It is for lists, whose reader looks again anyway. The
//! alternative, a consumer for each list, has state on the server that somebody would have to clean up.

use std::collections::HashSet;
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

/// Gives `each` the last message on each of these subjects; those that have none are passed over. Returns how many
/// questions it took.
///
/// The message with which `bytes_max` is reached is the last of an answer; what was left out is asked for again. So no
/// more than about that is held at once, and a subject of which nothing was heard has no message.
///
/// # Errors
/// When there is no such stream, or nobody answers for it.
pub async fn last_on_subjects(
    broker: &Broker,
    stream: &str,
    subjects: &[String],
    bytes_max: usize,
    mut each: impl FnMut(StoredMessage),
) -> Result<usize, ReadError> {
    let mut questions = 0;
    for subjects in subjects.chunks(BATCH_MESSAGES_MAX) {
        let mut left: HashSet<&str> = subjects.iter().map(String::as_str).collect();
        while !left.is_empty() {
            let question = json!({ "multi_last": left, "batch": left.len(), "max_bytes": bytes_max });
            let batch = ask(broker, stream, &question).await?;
            questions += 1;
            let asked = left.len();
            for message in batch.messages {
                left.remove(message.subject.as_str());
                each(message);
            }
            if batch.pending == 0 {
                break;
            }
            // Each question must bring something, or there would be no end of them.
            if left.len() == asked {
                let reason = "it holds back what was asked for".to_owned();
                return Err(ReadError::Unanswered { stream: stream.to_owned(), reason });
            }
        }
    }
    Ok(questions)
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
