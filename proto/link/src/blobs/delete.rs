//! Deleting a blob: its record first, then its chunks.
//!
//! Without its record the chunks are orphans, which a sweep finds; a record without its chunks would be a promise that is
//! not kept. The record goes by its place in the stream, not by its name: by the time of the deletion another blob may
//! have the name, and its caller a `201`.

use async_nats::jetstream::response::Response;
use workfleet_proto::blob::BlobId;

use super::{BlobError, BlobInfo, info, meta, stream_of};
use crate::broker::Broker;
use crate::read::{ReadError, by_sequence};

/// Deletes a blob; one that is not there is no error.
///
/// # Errors
/// When the broker does not answer.
pub async fn delete(broker: &Broker, blob: &BlobId) -> Result<(), BlobError> {
    match info(broker, blob).await? {
        Some(info) => delete_exactly(broker, &info).await,
        None => Ok(()),
    }
}

/// Deletes the very blob that was read, and not another that has its name by now; one that is not there is no error.
///
/// # Errors
/// When the broker does not answer.
pub async fn delete_exactly(broker: &Broker, info: &BlobInfo) -> Result<(), BlobError> {
    let stream = stream_of(&broker.names, &info.blob);
    if !delete_message(broker, &stream, info.record_sequence).await? {
        // Whoever deleted it purges its chunks. A record that was written anew by other tools still has them.
        return Ok(());
    }
    let store = broker.names.object_store(info.blob.store(), info.blob.queue());
    purge(broker, &stream, &meta::chunks(&store, &info.nuid)).await
}

/// Deletes one message of a stream; `false`: it is not there.
///
/// # Errors
/// When the stream is not there, or its leader does not answer.
pub async fn delete_message(broker: &Broker, stream: &str, sequence: u64) -> Result<bool, ReadError> {
    const STREAM_NOT_FOUND: u64 = 10_059;
    const SEQUENCE_NOT_FOUND: u64 = 10_043;
    const DELETE_FAILED: u64 = 10_057;
    let unanswered = |reason: String| ReadError::Unanswered { stream: stream.to_owned(), reason };
    // Without an erasure: the client's own call has the server write over the bytes first.
    let question = serde_json::json!({ "seq": sequence, "no_erase": true });
    let answer = broker.jetstream.request(format!("STREAM.MSG.DELETE.{stream}"), &question).await;
    match answer.map_err(|error| unanswered(error.to_string()))? {
        Response::Ok(serde_json::Value::Object(_)) => Ok(true),
        Response::Ok(other) => Err(unanswered(other.to_string())),
        Response::Err { error } => match error.error_code().0 {
            SEQUENCE_NOT_FOUND => Ok(false),
            // The server says so too of what is not there.
            DELETE_FAILED if by_sequence(broker, stream, sequence).await?.is_none() => Ok(false),
            STREAM_NOT_FOUND => Err(ReadError::NoStream { stream: stream.to_owned() }),
            _ => Err(unanswered(error.to_string())),
        },
    }
}

pub(super) async fn purge(broker: &Broker, stream: &str, subject: &str) -> Result<(), BlobError> {
    let unanswered = |reason: String| BlobError::Unanswered { reason };
    let handle = broker.jetstream.get_stream_no_info(stream).await.map_err(|error| unanswered(error.to_string()))?;
    handle.purge().filter(subject).await.map_err(|error| unanswered(error.to_string()))?;
    Ok(())
}
