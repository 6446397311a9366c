//! Reads that a decision may rest on: from the stream's leader, by `STREAM.MSG.GET`. A direct get is served by any
//! replica and may be behind, so nothing here uses it.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind, RawMessageErrorKind};
use bytes::Bytes;
use prost::Message as _;
use workfleet_proto::id::QueueName;
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

use crate::broker::Broker;

/// A message as a stream holds it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its subject.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// When it was stored, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

impl From<StreamMessage> for StoredMessage {
    fn from(message: StreamMessage) -> Self {
        Self {
            subject: message.subject.to_string(),
            sequence: message.sequence,
            time_ms: i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
            headers: message.headers,
            payload: message.payload,
        }
    }
}

/// The last message on exactly this subject.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub async fn last_on_subject(broker: &Broker, stream: &str, subject: &str) -> Result<Option<StoredMessage>, ReadError> {
    let handle = stream_handle(broker, stream).await?;
    match handle.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(stream, &error)),
    }
}

/// The message with this sequence.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub async fn by_sequence(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<StoredMessage>, ReadError> {
    let handle = stream_handle(broker, stream).await?;
    match handle.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(ReadError::Unanswered { stream: stream.to_owned(), reason: error.to_string() }),
    }
}

/// The value of a key, from the leader of the bucket's stream.
///
/// # Errors
/// When the bucket is not there, or its leader does not answer.
pub async fn key_value(broker: &Broker, bucket: &str, key: &str) -> Result<Option<StoredMessage>, ReadError> {
    let stored = last_on_subject(broker, &format!("KV_{bucket}"), &format!("$KV.{bucket}.{key}")).await?;
    // A deleted key keeps a marker.
    Ok(stored.filter(|message| message.headers.get("KV-Operation").is_none()))
}

/// A queue's settings; `None`: there is no such queue.
///
/// # Errors
/// When the bucket is not there, its leader does not answer, or the record cannot be read.
pub async fn queue_settings(broker: &Broker, queue: &QueueName) -> Result<Option<QueueSettings>, ReadError> {
    let bucket = broker.names.queues_bucket();
    let Some(record) = key_value(broker, &bucket, queue.as_str()).await? else { return Ok(None) };
    QueueSettings::decode(record.payload)
        .map(|settings| Some(settings::completed(settings)))
        .map_err(|error| ReadError::Garbled { place: format!("{bucket}/{queue}"), reason: error.to_string() })
}

async fn stream_handle(broker: &Broker, stream: &str) -> Result<async_nats::jetstream::stream::Stream<()>, ReadError> {
    broker
        .jetstream
        .get_stream_no_info(stream)
        .await
        .map_err(|error| ReadError::Unanswered { stream: stream.to_owned(), reason: error.to_string() })
}

fn failed(stream: &str, error: &LastRawMessageError) -> ReadError {
    const STREAM_NOT_FOUND: u64 = 10_059;
    match error.kind() {
        LastRawMessageErrorKind::JetStream(refusal) if refusal.error_code().0 == STREAM_NOT_FOUND => {
            ReadError::NoStream { stream: stream.to_owned() }
        }
        _ => ReadError::Unanswered { stream: stream.to_owned(), reason: error.to_string() },
    }
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The stream, or bucket, is not there.
    #[error("there is no stream {stream}; has `workfleet provision` run?")]
    NoStream {
        /// Its name.
        stream: String,
    },
    /// The leader did not answer, or refused.
    #[error("the leader of {stream} gave no answer: {reason}")]
    Unanswered {
        /// The stream.
        stream: String,
        /// What was said instead.
        reason: String,
    },
    /// What is stored there is not ours.
    #[error("{place} cannot be read: {reason}")]
    Garbled {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}
