//! The body of a request as a payload: its type from `Content-Type`, its size from `Content-Length` before anything is
//! read, and never more than the limit of it in memory.
//!
//! How large it may be is the queue's to say, so a body is taken in as it is, unread, and read once the queue is known.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use workfleet_link::blobs::BlobError;
use workfleet_proto::limits::INLINE_BYTES_MAX;

use crate::admit::Payload;
use crate::error::{ApiError, Code};
use crate::large::{Held, Large};
use crate::limits::{
    BODY_RATE_MIN, BODY_READ_TIMEOUT, BODY_STALL_TIMEOUT, DRAIN_BYTES_MAX, DRAIN_TIMEOUT, JSON_MARGIN_BYTES,
};

const MEDIA_TYPES: [&str; 2] = ["application/json", "application/x-protobuf"];

/// A body that nobody has read yet. Dropped like that, it is taken in and thrown away.
pub(super) struct Unread {
    headers: HeaderMap,
    body: Option<Body>,
}

impl<S: Send + Sync> FromRequest<S> for Unread {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body: Some(body) })
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            tokio::spawn(drain(body.into_data_stream(), DRAIN_BYTES_MAX, DRAIN_TIMEOUT));
        }
    }
}

impl Unread {
    /// The whole of it, and its share of the memory.
    ///
    /// # Errors
    /// When it is too large, comes too slowly, or there is no room for it at this moment.
    pub(super) async fn payload(self, payload_bytes_max: usize, large: &Large) -> Result<(Payload, Held), ApiError> {
        let media = media(&self.headers)?;
        let bytes_max = media.bytes_max(payload_bytes_max);
        let length = self.length();
        if let Some(bytes) = length.filter(|bytes| *bytes > bytes_max as u64) {
            return Err(too_large(&format!("{bytes} bytes"), media, bytes_max));
        }
        let mut whole = Whole { bytes_max, bytes: Vec::new(), held: large.hold_nothing() };
        whole.expect(length.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))?;
        let mut pieces = Pieces::new(self);
        while let Some(piece) = pieces.next().await? {
            if whole.bytes.len() + piece.len() > bytes_max {
                return Err(too_large("more bytes than are read", media, bytes_max));
            }
            whole.expect(whole.bytes.len() + piece.len())?;
            whole.bytes.extend_from_slice(&piece);
        }
        pieces.ended();
        let bytes = Bytes::from(whole.bytes);
        Ok(match media {
            Media::Json => (Payload::Json(bytes), whole.held),
            Media::Protobuf => (Payload::Protobuf(bytes), whole.held),
        })
    }

    /// Whether there certainly is none.
    pub(super) fn is_empty(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// Its size, where the caller says it.
    pub(super) fn length(&self) -> Option<u64> {
        self.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Piece by piece, never whole.
    pub(super) fn pieces(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
        futures::stream::unfold(Pieces::new(self), |mut pieces| async move {
            match pieces.next().await {
                Ok(Some(piece)) => Some((Ok(piece), pieces)),
                Ok(None) => {
                    pieces.ended();
                    None
                }
                Err(error) => Some((Err(BlobError::Source { reason: error.detail.clone() }), pieces)),
            }
        })
    }
}

/// A body being gathered.
struct Whole {
    bytes_max: usize,
    bytes: Vec<u8>,
    held: Held,
}

impl Whole {
    /// Makes room for so many bytes, at once where the caller said how many there are: a buffer that grows by doubling
    /// would be half empty.
    fn expect(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes <= self.bytes.capacity() {
            return Ok(());
        }
        let wanted = bytes.max(self.bytes.capacity().saturating_mul(2)).max(4_096);
        let wanted = if self.bytes.is_empty() { bytes } else { wanted.min(self.bytes_max) };
        if wanted > INLINE_BYTES_MAX {
            self.held.grow_to(wanted)?;
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        Ok(())
    }
}

/// A body on its way, with the time that it may take.
struct Pieces {
    /// Until its end, or its last error.
    chunks: Option<BodyDataStream>,
    began: Instant,
    read: u64,
}

impl Pieces {
    fn new(mut body: Unread) -> Self {
        let chunks = body.body.take().map(Body::into_data_stream);
        Self { chunks, began: Instant::now(), read: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(chunks) = &mut self.chunks else { return Ok(None) };
        let allowed = BODY_READ_TIMEOUT + Duration::from_secs(self.read / BODY_RATE_MIN);
        let until = (self.began + allowed).min(Instant::now() + BODY_STALL_TIMEOUT);
        match timeout_at(until, chunks.next()).await {
            Ok(Some(Ok(piece))) => {
                self.read += piece.len() as u64;
                Ok(Some(piece))
            }
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => {
                self.chunks = None;
                Err(ApiError::new(Code::InvalidPayload, format!("the body broke off: {error}")))
            }
            Err(_) => {
                self.chunks = None;
                let detail = format!("the body came too slowly: {} bytes in {:?}", self.read, self.began.elapsed());
                Err(ApiError::new(Code::RequestTimeout, detail))
            }
        }
    }

    /// It was read to its end; there is nothing to throw away.
    fn ended(&mut self) {
        self.chunks = None;
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(chunks) = self.chunks.take() {
            tokio::spawn(drain(chunks, DRAIN_BYTES_MAX, DRAIN_TIMEOUT));
        }
    }
}

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Protobuf,
}

impl Media {
    /// JSON carries `bytes` as base64, so a payload of the largest size needs 4/3 of it, and a little for the names.
    fn bytes_max(self, payload_bytes_max: usize) -> usize {
        match self {
            Self::Json => (payload_bytes_max / 3).saturating_mul(4).saturating_add(JSON_MARGIN_BYTES),
            Self::Protobuf => payload_bytes_max,
        }
    }
}

fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    let named = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = named.as_deref().and_then(|named| named.split(';').next()).unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Media::Json),
        "application/x-protobuf" => Ok(Media::Protobuf),
        _ => {
            let shown: String = essence.chars().take(80).collect();
            let said = if shown.is_empty() { "no Content-Type".to_owned() } else { format!("Content-Type {shown:?}") };
            Err(ApiError::new(Code::UnsupportedMediaType, format!("the body has {said}"))
                .known(MEDIA_TYPES.map(ToOwned::to_owned).to_vec()))
        }
    }
}

fn too_large(size: &str, media: Media, bytes_max: usize) -> ApiError {
    let what = match media {
        Media::Json => "a JSON body, with bytes as base64,",
        Media::Protobuf => "a payload",
    };
    let detail = format!("the body has {size}; {what} may have {bytes_max} bytes");
    ApiError::new(Code::PayloadTooLarge, detail)
}

/// Takes in so much of a body that no handler has seen. Who waits to be asked for it is not asked.
pub(super) fn leave(headers: &HeaderMap, body: Body, bytes_max: usize, time_max: Duration) {
    if !headers.contains_key(header::EXPECT) {
        tokio::spawn(drain(body.into_data_stream(), bytes_max, time_max));
    }
}

/// Takes in the rest of a refused body, within bounds and after the answer: a client that is still writing would be
/// cut off, and many of those never read the answer then.
async fn drain(mut chunks: BodyDataStream, bytes_max: usize, time_max: Duration) {
    let mut left = bytes_max;
    let all = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Who takes longer is cut off.
    let _ = timeout(time_max, all).await;
}

#[cfg(test)]
mod tests {
    use super::{Media, Unread, media};
    use crate::admit::Payload;
    use crate::error::{ApiError, Code};
    use crate::large::Large;
    use axum::body::Body;
    use axum::http::{HeaderMap, HeaderValue, header};
    use bytes::Bytes;
    use std::time::Duration;

    const BYTES_MAX: usize = 700 * 1024;

    fn head(media: &'static str, length: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if !length.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        headers
    }

    async fn read(headers: HeaderMap, body: Body) -> Result<usize, ApiError> {
        let unread = Unread { headers, body: Some(body) };
        unread.payload(BYTES_MAX, &Large::new()).await.map(|(payload, _)| match payload {
            Payload::Json(bytes) | Payload::Protobuf(bytes) => bytes.len(),
        })
    }

    fn never_ending() -> Body {
        let piece = Bytes::from(vec![0; 64 * 1024]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
    }

    #[test]
    fn two_types_are_known_and_others_are_named() {
        assert_eq!(media(&head("application/json; charset=utf-8", "2")).ok(), Some(Media::Json));
        assert_eq!(media(&head("Application/X-Protobuf", "2")).ok(), Some(Media::Protobuf));
        for wrong in ["text/plain", "", "application/jsonp"] {
            let error = media(&head(wrong, "2")).expect_err("unknown");
            assert_eq!(error.code, Code::UnsupportedMediaType, "{wrong}");
            assert_eq!(error.known.len(), 2);
        }
        assert!(media(&HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn a_body_that_says_that_it_is_too_large_is_refused_with_its_size_unread() {
        let silent = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read(head("application/x-protobuf", "716801"), silent()).await.expect_err("too large");
        assert_eq!(error.code, Code::PayloadTooLarge);
        assert!(error.detail.contains("716801") && error.detail.contains("716800"), "{}", error.detail);
        assert!(read(head("application/json", "99999999999"), silent()).await.is_err());
        let whole = || Body::from(vec![0; 1_000]);
        assert_eq!(read(head("application/x-protobuf", "1000"), whole()).await.ok(), Some(1_000));
        assert_eq!(read(head("application/json", ""), whole()).await.ok(), Some(1_000));
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_its_size_is_refused_once_it_is_too_large() {
        for media in ["application/json", "application/x-protobuf"] {
            let error = read(head(media, ""), never_ending()).await.expect_err("too large");
            assert_eq!(error.code, Code::PayloadTooLarge);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_cut_off_and_one_that_flows_is_not() {
        let slow = |pause_ms: u64, piece: usize, pieces: usize| {
            Body::from_stream(futures::stream::unfold(0, move |n| async move {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                (n < pieces).then(|| (Ok::<_, std::io::Error>(Bytes::from(vec![0; piece])), n + 1))
            }))
        };
        let trickle = read(head("application/json", ""), slow(1_000, 10, 1_000)).await.expect_err("too slow");
        assert_eq!(trickle.code, Code::RequestTimeout);
        let stalled = read(head("application/json", ""), slow(20_000, 100_000, 2)).await.expect_err("too slow");
        assert_eq!(stalled.code, Code::RequestTimeout);
        assert_eq!(read(head("application/json", ""), slow(5_000, 100_000, 6)).await.ok(), Some(600_000));
    }
}
