//! Large payloads, outputs and uploads in JetStream's object stores, streamed both ways.
//!
//! What is stored has the form of a NATS object store, so `nats object get IN_thumbnail ..` works on it: chunks on
//! `$O.<store>.C.<nuid>`, then one record on `$O.<store>.M.<name>`. The client library's own object store is not used,
//! because three things are needed that it has not: a record that is written once (compare-and-set, so that no upload
//! replaces what a task points at), a record that is read from the leader (a claim check must not be missed on a replica
//! that is behind), and reads that ask for the next few chunks when they are wanted, where it lets the server push the
//! whole object into memory. See docs/decisions/0007-blobs-of-our-own.md.

mod delete;
mod error;
mod meta;
mod read;

use std::time::Duration;

use async_nats::jetstream;
use bytes::{Bytes, BytesMut};
use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::BLOB_CHUNK_BYTES;
use workfleet_proto::names::Names;
use workfleet_proto::v1::Blob;

use crate::broker::Broker;
use crate::pipeline::{Publish, PublishError, Stored, send_next};

pub use delete::{delete, delete_exactly, delete_message};
pub use error::BlobError;
pub use meta::BlobInfo;
pub use read::{fetch, stream};

/// Chunks of one blob that are under way to the broker at once.
const CHUNKS_INFLIGHT_MAX: usize = 8;

/// How often a record is published that meets a write of the same name under way.
const RECORD_TRIES_MAX: u32 = 40;
/// Pause between two of these tries.
const RECORD_PAUSE: Duration = Duration::from_millis(25);

/// The JetStream stream below the store of a blob.
#[must_use]
pub fn stream_of(names: &Names, blob: &BlobId) -> String {
    format!("OBJ_{}", names.object_store(blob.store(), blob.queue()))
}

/// Stores a blob from pieces of any size; never more than a few chunks of it are in memory.
///
/// # Errors
/// [`BlobError::TooLarge`] beyond `bytes_max`, [`BlobError::Exists`] where the name is taken, and whatever `pieces` says.
/// Then its chunks are removed again, as well as the broker allows. They stay for a sweep where nobody knows whether the
/// record is stored, and where whoever awaits this stops doing so: a server that drops a request whose connection is
/// reset does just that.
pub async fn put<E: Into<BlobError>>(
    broker: &Broker,
    blob: &BlobId,
    pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    bytes_max: u64,
) -> Result<BlobInfo, BlobError> {
    let writing = Writing::new(broker, blob);
    match writing.write(pieces, bytes_max).await {
        Ok(info) => Ok(info),
        Err(error) => {
            // Where nobody knows whether the record is stored it must not be left without its pieces. What is not purged
            // now is an orphan, and a sweep finds it.
            if !matches!(error, BlobError::Unanswered { .. }) {
                let _ = delete::purge(broker, &writing.stream, &writing.chunks).await;
            }
            Err(error)
        }
    }
}

/// The same from memory, without a copy.
///
/// # Errors
/// As [`put`].
pub async fn put_bytes(broker: &Broker, blob: &BlobId, bytes: Bytes) -> Result<BlobInfo, BlobError> {
    let bytes_max = bytes.len() as u64;
    put(broker, blob, futures::stream::iter([Ok::<_, BlobError>(bytes)]), bytes_max).await
}

/// What is known of a blob, from the leader; `None`: there is none.
///
/// # Errors
/// When the store is not there, or its leader does not answer.
pub async fn info(broker: &Broker, blob: &BlobId) -> Result<Option<BlobInfo>, BlobError> {
    let store = broker.names.object_store(blob.store(), blob.queue());
    let subject = meta::subject(&store, blob.name());
    match crate::read::last_on_subject(broker, &stream_of(&broker.names, blob), &subject).await? {
        Some(stored) => BlobInfo::read(blob, &stored).map(Some),
        None => Ok(None),
    }
}

/// A blob being written.
struct Writing<'a> {
    jetstream: &'a jetstream::Context,
    blob: &'a BlobId,
    store: String,
    stream: String,
    nuid: String,
    chunks: String,
}

impl<'a> Writing<'a> {
    fn new(broker: &'a Broker, blob: &'a BlobId) -> Self {
        let store = broker.names.object_store(blob.store(), blob.queue());
        let nuid = meta::nuid();
        let chunks = meta::chunks(&store, &nuid);
        Self { jetstream: &broker.jetstream, blob, stream: stream_of(&broker.names, blob), store, nuid, chunks }
    }

    async fn write<E: Into<BlobError>>(
        &self,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send,
        bytes_max: u64,
    ) -> Result<BlobInfo, BlobError> {
        let mut info = BlobInfo { nuid: self.nuid.clone(), ..BlobInfo::new(self.blob.clone()) };
        let mut hash = Sha256::new();
        let mut chunks = std::pin::pin!(chunked(pieces.map_err(Into::into)).fuse());
        let mut underway = FuturesOrdered::new();
        let ended = loop {
            tokio::select! {
                Some(stored) = underway.next() => match stored {
                    // The first answer is that of the first chunk.
                    Ok(Stored { sequence, .. }) if info.first_sequence == 0 => info.first_sequence = sequence,
                    Ok(_) => {}
                    Err(error) => break Err(BlobError::from(error)),
                },
                Some(chunk) = chunks.next(), if underway.len() < CHUNKS_INFLIGHT_MAX => {
                    match self.send(chunk, &mut info, &mut hash, bytes_max).await {
                        Ok(acknowledged) => underway.push_back(acknowledged),
                        Err(error) => break Err(error),
                    }
                }
                else => break Ok(()),
            }
        };
        if ended.is_err() {
            // What is on its way must not arrive behind the purge.
            while underway.next().await.is_some() {}
        }
        ended?;
        info.sha256 = hash.finalize().into();
        let record = meta::record(&self.store, &info);
        let subject = meta::subject(&self.store, self.blob.name());
        let message = Publish { expected_sequence: Some(0), ..Publish::new(subject, record) };
        info.record_sequence = self.publish_record(message).await?;
        Ok(info)
    }

    /// Publishes the record. A write of the same name that is under way is waited for: it wins, or it fails.
    async fn publish_record(&self, message: Publish) -> Result<u64, BlobError> {
        for _ in 0..RECORD_TRIES_MAX {
            match self.publish(message.clone()).await {
                Ok(stored) => return Ok(stored.sequence),
                Err(PublishError::Lost) => return Err(BlobError::Exists { blob: self.blob.clone() }),
                Err(PublishError::InFlight) => tokio::time::sleep(RECORD_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(PublishError::InFlight.into())
    }

    /// Sends a chunk before the next one is looked at: futures that run side by side may overtake each other, and nobody
    /// could read the blob.
    async fn send(
        &self,
        chunk: Result<Bytes, BlobError>,
        info: &mut BlobInfo,
        hash: &mut Sha256,
        bytes_max: u64,
    ) -> Result<impl Future<Output = Result<Stored, PublishError>> + Send + use<>, BlobError> {
        let chunk = chunk?;
        info.bytes += chunk.len() as u64;
        info.chunks += 1;
        hash.update(&chunk);
        if info.bytes > bytes_max {
            return Err(BlobError::TooLarge { bytes_max });
        }
        Ok(send_next(self.jetstream, Publish::new(self.chunks.clone(), chunk)).await?)
    }

    async fn publish(&self, message: Publish) -> Result<Stored, PublishError> {
        send_next(self.jetstream, message).await?.await
    }
}

/// The same bytes in pieces of the size that is stored. Large pieces are cut, not copied.
fn chunked(
    pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
    let state = (Box::pin(pieces.fuse()), Bytes::new());
    futures::stream::try_unfold(state, |(mut pieces, mut rest)| async move {
        if rest.len() >= BLOB_CHUNK_BYTES {
            let chunk = rest.split_to(BLOB_CHUNK_BYTES);
            return Ok(Some((chunk, (pieces, rest))));
        }
        let mut gathered = BytesMut::new();
        loop {
            let wanted = BLOB_CHUNK_BYTES - gathered.len();
            if gathered.is_empty() && rest.len() >= BLOB_CHUNK_BYTES {
                let chunk = rest.split_to(BLOB_CHUNK_BYTES);
                return Ok(Some((chunk, (pieces, rest))));
            }
            gathered.extend_from_slice(&rest.split_to(wanted.min(rest.len())));
            if gathered.len() == BLOB_CHUNK_BYTES {
                return Ok(Some((gathered.freeze(), (pieces, rest))));
            }
            match pieces.try_next().await? {
                Some(piece) => rest = piece,
                None if gathered.is_empty() => return Ok(None),
                None => return Ok(Some((gathered.freeze(), (pieces, rest)))),
            }
        }
    })
}

impl From<&BlobInfo> for Blob {
    fn from(info: &BlobInfo) -> Self {
        Self { name: info.blob.name().to_owned(), bytes: info.bytes, sha256: Bytes::copy_from_slice(&info.sha256) }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlobError, chunked};
    use bytes::Bytes;
    use futures::TryStreamExt as _;
    use workfleet_proto::limits::BLOB_CHUNK_BYTES;

    #[tokio::test]
    async fn pieces_of_any_size_become_chunks_of_one_size() {
        let sizes = [1, 0, 5_000, BLOB_CHUNK_BYTES * 3 + 7, 70_000, 70_000, BLOB_CHUNK_BYTES, 3];
        let pieces: Vec<Bytes> = sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size])).collect();
        let whole = pieces.concat();
        let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, BlobError>));
        let chunks: Vec<Bytes> = chunked(pieces).try_collect().await.expect("chunks");
        assert_eq!(chunks.concat(), whole);
        let (last, full) = chunks.split_last().expect("some");
        assert!(full.iter().all(|chunk| chunk.len() == BLOB_CHUNK_BYTES) && !last.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_no_chunk() {
        let none = futures::stream::iter([Ok::<_, BlobError>(Bytes::new())]);
        assert_eq!(chunked(none).try_collect::<Vec<_>>().await, Ok(Vec::new()));
    }
}
