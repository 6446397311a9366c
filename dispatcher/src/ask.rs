//! Questions to JetStream that are not about one task: what a stream and a consumer hold.
//!
//! They go as plain JSON requests: the client's own calls fetch, and decode, whole configurations each time.

use std::collections::HashMap;

use async_nats::jetstream::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use workfleet_link::broker::Broker;
use workfleet_link::read::{ReadError, StoredMessage};
use workfleet_proto::id::QueueName;
use workfleet_proto::names::DelayPart;

use crate::limits::BROKER_TIMEOUT;

/// Beyond every list: an answer that starts there counts the subjects and carries none.
const BEYOND: u64 = 1 << 40;

/// What a stream holds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamState {
    /// Messages in it.
    pub(crate) messages: u64,
    /// Bytes of them.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// The first sequence that it holds.
    #[serde(default)]
    pub(crate) first_seq: u64,
    /// The last sequence that it ever gave.
    #[serde(default)]
    pub(crate) last_seq: u64,
    #[serde(default)]
    first_ts: Option<jiff::Timestamp>,
    #[serde(default)]
    subjects: HashMap<String, u64>,
}

impl StreamState {
    /// When the oldest was stored; nothing in an empty stream.
    pub(crate) fn first_ms(&self) -> Option<i64> {
        self.first_ts.filter(|_| self.messages > 0).map(jiff::Timestamp::as_millisecond)
    }
}

#[derive(Debug, Deserialize)]
struct StreamInfo {
    state: StreamState,
    #[serde(default)]
    config: StreamLimits,
    #[serde(default)]
    total: u64,
}

/// What a stream may hold.
#[derive(Debug, Default, Deserialize)]
struct StreamLimits {
    /// -1: no limit.
    #[serde(default)]
    max_bytes: i64,
}

/// What a consumer has delivered, and what not.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsumerState {
    /// Messages that were never delivered.
    pub(crate) num_pending: u64,
    /// Messages that were delivered and not acknowledged.
    pub(crate) num_ack_pending: u64,
    /// Whether it is held back.
    #[serde(default)]
    pub(crate) paused: bool,
    /// The last that was delivered.
    pub(crate) delivered: Delivered,
    /// All up to here are acknowledged.
    pub(crate) ack_floor: Delivered,
}

/// A place in a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Delivered {
    /// Its sequence.
    pub(crate) stream_seq: u64,
}

#[derive(Debug, Deserialize)]
struct ConsumerNames {
    #[serde(default)]
    consumers: Option<Vec<String>>,
}

#[derive(Serialize)]
struct SubjectsFilter<'a> {
    subjects_filter: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a stream holds.
///
/// # Errors
/// When it is not there, or its leader does not answer.
pub(crate) async fn stream(broker: &Broker, stream: &str) -> Result<StreamState, ReadError> {
    let info: StreamInfo = request(broker, stream, format!("STREAM.INFO.{stream}"), None::<&()>).await?;
    Ok(info.state)
}

/// What a stream holds, and the most bytes that it may; 0 if it has no limit.
///
/// # Errors
/// When it is not there, or its leader does not answer.
pub(crate) async fn stream_and_bytes_max(broker: &Broker, stream: &str) -> Result<(StreamState, u64), ReadError> {
    let info: StreamInfo = request(broker, stream, format!("STREAM.INFO.{stream}"), None::<&()>).await?;
    Ok((info.state, u64::try_from(info.config.max_bytes).unwrap_or(0)))
}

/// How many subjects match; with one message for each, how many messages.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn count(broker: &Broker, stream: &str, filter: &str) -> Result<u64, ReadError> {
    let question = SubjectsFilter { subjects_filter: filter, offset: BEYOND };
    let info: StreamInfo = request(broker, stream, format!("STREAM.INFO.{stream}"), Some(&question)).await?;
    Ok(info.total)
}

/// How many messages of a delay stream are no tasks: timers of deadlines, and deadlines that have passed and are not done.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn deadlines(broker: &Broker, queue: &QueueName) -> Result<u64, ReadError> {
    let stream = broker.names.delay_stream(queue);
    let timers = count(broker, &stream, &broker.names.delay_all(DelayPart::Deadline, queue)).await?;
    let passed = count(broker, &stream, &broker.names.delay_all(DelayPart::Expired, queue)).await?;
    Ok(timers + passed)
}

/// The subjects that match, `max` at most, in order.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn subjects(
    broker: &Broker,
    stream: &str,
    filter: &str,
    max: usize,
) -> Result<Vec<String>, ReadError> {
    let question = SubjectsFilter { subjects_filter: filter, offset: 0 };
    let info: StreamInfo = request(broker, stream, format!("STREAM.INFO.{stream}"), Some(&question)).await?;
    let mut subjects: Vec<String> = info.state.subjects.into_keys().collect();
    subjects.sort_unstable();
    subjects.truncate(max);
    Ok(subjects)
}

/// A page of the subjects that match, as many as the server gives at once.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn subjects_from(
    broker: &Broker,
    stream: &str,
    filter: &str,
    offset: u64,
) -> Result<Vec<String>, ReadError> {
    let question = SubjectsFilter { subjects_filter: filter, offset };
    let info: StreamInfo = request(broker, stream, format!("STREAM.INFO.{stream}"), Some(&question)).await?;
    Ok(info.state.subjects.into_keys().collect())
}

/// What a consumer has delivered.
///
/// # Errors
/// When it is not there, or its leader does not answer.
pub(crate) async fn consumer(broker: &Broker, stream: &str, name: &str) -> Result<ConsumerState, ReadError> {
    request(broker, stream, format!("CONSUMER.INFO.{stream}.{name}"), None::<&()>).await
}

/// Names of a stream's consumers.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn consumers(broker: &Broker, stream: &str) -> Result<Vec<String>, ReadError> {
    let list: ConsumerNames = request(broker, stream, format!("CONSUMER.NAMES.{stream}"), None::<&()>).await?;
    Ok(list.consumers.unwrap_or_default())
}

/// The first message from `sequence` on whose subject matches.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn next_on(
    broker: &Broker,
    stream: &str,
    sequence: u64,
    filter: &str,
) -> Result<Option<StoredMessage>, ReadError> {
    let unanswered = |reason: String| ReadError::Unanswered { stream: stream.to_owned(), reason };
    let handle = broker.jetstream.get_stream_no_info(stream).await.map_err(|error| unanswered(error.to_string()))?;
    match handle.raw_message_builder().sequence(sequence.max(1)).next_by_subject(filter).send().await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == async_nats::jetstream::stream::RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(unanswered(error.to_string())),
    }
}

/// Deletes one message of a stream; one that is not there is no error.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn delete_message(broker: &Broker, stream: &str, sequence: u64) -> Result<(), ReadError> {
    workfleet_link::blobs::delete_message(broker, stream, sequence).await.map(|_| ())
}

/// Purges one subject of a stream.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub(crate) async fn purge(broker: &Broker, stream: &str, subject: &str) -> Result<(), ReadError> {
    let question = serde_json::json!({ "filter": subject });
    request::<_, serde_json::Value>(broker, stream, format!("STREAM.PURGE.{stream}"), Some(&question)).await.map(|_| ())
}

/// A question whose refusal is an error.
async fn request<T: Serialize, V: DeserializeOwned>(
    broker: &Broker,
    stream: &str,
    subject: String,
    question: Option<&T>,
) -> Result<V, ReadError> {
    const NOT_FOUND: usize = 404;
    match api(broker, subject, question).await {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) if error.code() == NOT_FOUND => {
            Err(ReadError::NoStream { stream: stream.to_owned() })
        }
        Ok(Response::Err { error }) => {
            Err(ReadError::Unanswered { stream: stream.to_owned(), reason: error.to_string() })
        }
        Err(error) => Err(ReadError::Unanswered { stream: stream.to_owned(), reason: error.to_string() }),
    }
}

/// A request to JetStream's API. The client's own way always sends a body, and `CONSUMER.INFO` refuses one.
///
/// # Errors
/// When there is no answer, or one that cannot be read.
pub(crate) async fn api<T: Serialize, V: DeserializeOwned>(
    broker: &Broker,
    subject: String,
    question: Option<&T>,
) -> Result<Response<V>, ApiFault> {
    let body = question.map_or(Ok(Vec::new()), serde_json::to_vec)?;
    let request = async_nats::Request::new().payload(body.into()).timeout(Some(BROKER_TIMEOUT));
    let answer = broker.client.send_request(format!("$JS.API.{subject}"), request).await?;
    Ok(serde_json::from_slice(&answer.payload)?)
}

/// JetStream gave no answer that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiFault {
    /// No answer.
    #[error(transparent)]
    Request(#[from] async_nats::RequestError),
    /// One that cannot be read.
    #[error("an answer that cannot be read: {0}")]
    Garbled(#[from] serde_json::Error),
}
