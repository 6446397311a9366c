//! Reading a blob: a few chunks at a time, and the digest at the end.
//!
//! Chunks come by batched direct gets, which any replica may answer. One that is behind gives fewer chunks than the
//! record counts, and one that is wrong gives another digest; so nothing wrong is ever taken for the blob.
//!
//! All readers of a connection share a budget of chunks that are asked for: the server keeps what a client has not taken
//! yet, and cuts off one for which it keeps too much. A share goes back once the chunks are here, whenever their reader
//! takes them; so a slow reader costs memory, one window, and nobody's time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::BLOB_CHUNK_BYTES;
use workfleet_proto::v1::Blob;

use super::{BlobError, BlobInfo, info, meta, stream_of};
use crate::broker::Broker;

/// Chunks that are asked for at once: at most 1 MiB is on its way.
const CHUNKS_ASKED_MAX: u64 = 8;
/// How long the broker may take for the next chunk.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(5);

/// The whole of the blob that a claim check names, in one piece of memory.
///
/// # Errors
/// [`BlobError::Gone`] where it is not there, [`BlobError::Damaged`] where it is not what the claim check says.
pub async fn fetch(broker: &Broker, blob: &BlobId, claim: &Blob) -> Result<Bytes, BlobError> {
    let found = info(broker, blob).await?.ok_or_else(|| BlobError::Gone { blob: blob.clone() })?;
    if found.sha256[..] != claim.sha256[..] || found.bytes != claim.bytes {
        return Err(BlobError::Damaged { blob: blob.clone(), reason: "it is not what the task says".to_owned() });
    }
    // Reserved at once: a buffer that grows has twice its bytes for a moment.
    let mut whole = BytesMut::with_capacity(usize::try_from(found.bytes).unwrap_or(0));
    let mut pieces = std::pin::pin!(stream(broker, found));
    while let Some(piece) = pieces.try_next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// A blob piece by piece. The last item is an error if the digest is wrong.
pub fn stream(broker: &Broker, info: BlobInfo) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + use<> {
    let (next, bytes_left) = (info.first_sequence, info.bytes);
    let reading = Reading { broker: broker.clone(), next, info, read: 0, bytes_left, hash: Sha256::new() };
    futures::stream::try_unfold(reading, |mut reading| async move {
        let pieces = reading.window().await?;
        Ok::<_, BlobError>((!pieces.is_empty()).then(|| (futures::stream::iter(pieces.into_iter().map(Ok)), reading)))
    })
    .try_flatten()
}

struct Reading {
    broker: Broker,
    info: BlobInfo,
    /// Sequence from which on the next chunk is looked for.
    next: u64,
    /// Chunks that were read.
    read: u64,
    /// Bytes that are still to come.
    bytes_left: u64,
    hash: Sha256,
}

impl Reading {
    /// The next chunks; none at the end.
    async fn window(&mut self) -> Result<Vec<Bytes>, BlobError> {
        let wanted = (self.info.chunks - self.read).min(CHUNKS_ASKED_MAX);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let pieces = self.ask(wanted).await?;
        for piece in &pieces {
            self.bytes_left = self.bytes_left.checked_sub(piece.len() as u64).ok_or_else(|| {
                // Whoever wrote a false record must not make us gather without end.
                self.damaged(format!("it has more than its {} bytes", self.info.bytes))
            })?;
            self.hash.update(piece);
        }
        self.read += pieces.len() as u64;
        if pieces.is_empty() {
            return Err(self.damaged(format!("{} of {} chunks are there", self.read, self.info.chunks)));
        }
        if self.read == self.info.chunks && self.hash.finalize_reset()[..] != self.info.sha256[..] {
            return Err(self.damaged("its SHA-256 is another".to_owned()));
        }
        Ok(pieces)
    }

    /// Asks for the next chunks and gives them once all are here.
    ///
    /// It is asked beside the reader: one that is not polled on would keep others from the chunks that it waits for, or
    /// has asked for.
    async fn ask(&mut self, wanted: u64) -> Result<Vec<Bytes>, BlobError> {
        let (answer, window) = oneshot::channel();
        let question = Question { broker: self.broker.clone(), next: self.next, wanted, info: self.info.clone() };
        tokio::spawn(question.carry(answer));
        let gone = |_| BlobError::Unanswered { reason: "the runtime is going down".to_owned() };
        let (pieces, next) = window.await.map_err(gone)??;
        self.next = next;
        Ok(pieces)
    }

    fn damaged(&self, reason: String) -> BlobError {
        BlobError::Damaged { blob: self.info.blob.clone(), reason }
    }
}

/// A question for the next chunks of a blob.
struct Question {
    broker: Broker,
    info: BlobInfo,
    next: u64,
    wanted: u64,
}

/// Chunks, and the sequence from which on the next one is looked for.
type Window = Result<(Vec<Bytes>, u64), BlobError>;

impl Question {
    /// Waits for its turn, asks, and counts the chunks as under way until they are here: also where the reader is gone
    /// by then, since the server sends them all the same.
    async fn carry(self, mut answer: oneshot::Sender<Window>) {
        let chunks = u32::try_from(self.wanted).unwrap_or(u32::MAX);
        let turn = Arc::clone(&self.broker.blob_chunks).acquire_many_owned(chunks);
        let turn = tokio::select! {
            turn = turn => turn,
            () = answer.closed() => return,
        };
        let window = self.ask().await;
        drop(turn);
        // Who no longer waits does not want to know.
        let _ = answer.send(window);
    }

    async fn ask(self) -> Window {
        let names = &self.broker.names;
        let store = names.object_store(self.info.blob.store(), self.info.blob.queue());
        let question = serde_json::json!({
            "batch": self.wanted,
            // What is no chunk of ours cannot make the answer larger.
            "max_bytes": self.wanted * 2 * BLOB_CHUNK_BYTES as u64,
            "seq": self.next.max(1),
            "next_by_subj": meta::chunks(&store, &self.info.nuid),
        });
        let unanswered = |reason: String| BlobError::Unanswered { reason };
        let client = &self.broker.client;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| unanswered(error.to_string()))?;
        let subject = format!("$JS.API.DIRECT.GET.{}", stream_of(names, &self.info.blob));
        let asked = client.publish_with_reply(subject, inbox, question.to_string().into()).await;
        asked.map_err(|error| unanswered(error.to_string()))?;
        let (mut pieces, mut next) = (Vec::new(), self.next);
        while (pieces.len() as u64) < self.wanted {
            let answer = tokio::time::timeout(CHUNK_TIME_MAX, answers.next()).await;
            let Ok(Some(message)) = answer else {
                return Err(unanswered("the next piece of a blob did not come".to_owned()));
            };
            // 204: the end of the batch; 404: there is nothing more.
            if let Some(status) = message.status {
                match status.as_u16() {
                    204 | 404 => break,
                    503 => return Err(BlobError::NoStore),
                    code => return Err(unanswered(format!("the broker says {code}"))),
                }
            }
            let sequence = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
            let sequence: Option<u64> = sequence.and_then(|value| value.as_str().parse().ok());
            next = sequence.ok_or_else(|| unanswered("a piece of a blob has no sequence".to_owned()))? + 1;
            pieces.push(message.payload);
        }
        Ok((pieces, next))
    }
}
