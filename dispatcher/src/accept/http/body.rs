//! The body of a request as a payload: its type from `Content-Type`, its size from `Content-Length` before anything is
//! read, and never more than the limit of it in memory.

use std::error::Error as _;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use tokio::time::timeout;
use workfleet_proto::limits::PAYLOAD_BYTES_MAX;

use crate::admit::Payload;
use crate::error::{ApiError, Code};
use crate::limits::{BODY_BYTES_MAX, BODY_READ_TIMEOUT, DRAIN_BYTES_MAX, DRAIN_TIMEOUT};

const MEDIA_TYPES: [&str; 2] = ["application/json", "application/x-protobuf"];

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let media = match check_head(&parts.headers) {
            Ok(media) => media,
            Err(refusal) => {
                tokio::spawn(drain(body));
                return Err(refusal);
            }
        };
        let bytes = match timeout(BODY_READ_TIMEOUT, to_bytes(body, media.bytes_max())).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(read_error(&error, media)),
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", BODY_READ_TIMEOUT.as_secs());
                return Err(ApiError::new(Code::RequestTimeout, detail));
            }
        };
        Ok(match media {
            Media::Json => Self::Json(bytes),
            Media::Protobuf => Self::Protobuf(bytes),
        })
    }
}

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Protobuf,
}

impl Media {
    fn bytes_max(self) -> usize {
        match self {
            Self::Json => BODY_BYTES_MAX,
            Self::Protobuf => PAYLOAD_BYTES_MAX,
        }
    }
}

fn check_head(headers: &HeaderMap) -> Result<Media, ApiError> {
    let media = media(headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(bytes) if bytes > media.bytes_max() as u64 => Err(too_large(&format!("{bytes} bytes"), media)),
        _ => Ok(media),
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

fn too_large(size: &str, media: Media) -> ApiError {
    let what = match media {
        Media::Json => "a JSON body, with bytes as base64,",
        Media::Protobuf => "a payload",
    };
    let detail = format!("the body has {size}; {what} may have {} bytes", media.bytes_max());
    ApiError::new(Code::PayloadTooLarge, detail)
}

fn read_error(error: &axum::Error, media: Media) -> ApiError {
    let limit = error.source().is_some_and(|source| source.to_string().contains("length limit"));
    if limit {
        too_large("more bytes than are read", media)
    } else {
        ApiError::new(Code::InvalidPayload, format!("the body broke off: {error}"))
    }
}

/// Takes in the rest of a refused body, within bounds and after the answer: a client that is still writing would be
/// cut off, and many of those never read the answer then.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut left = DRAIN_BYTES_MAX;
    let all = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Who takes longer is cut off.
    let _ = timeout(DRAIN_TIMEOUT, all).await;
}

#[cfg(test)]
mod tests {
    use super::{Media, check_head};
    use crate::error::Code;
    use axum::http::{HeaderMap, HeaderValue, header};

    fn head(media: &'static str, length: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        headers
    }

    #[test]
    fn two_types_are_known_and_others_are_named() {
        assert_eq!(check_head(&head("application/json; charset=utf-8", "2")).ok(), Some(Media::Json));
        assert_eq!(check_head(&head("Application/X-Protobuf", "2")).ok(), Some(Media::Protobuf));
        for wrong in ["text/plain", "", "application/jsonp"] {
            let error = check_head(&head(wrong, "2")).expect_err("unknown");
            assert_eq!(error.code, Code::UnsupportedMediaType, "{wrong}");
            assert_eq!(error.known.len(), 2);
        }
        assert!(check_head(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_body_that_says_that_it_is_too_large_is_refused_with_its_size() {
        let error = check_head(&head("application/x-protobuf", "716801")).expect_err("too large");
        assert_eq!(error.code, Code::PayloadTooLarge);
        assert!(error.detail.contains("716801") && error.detail.contains("716800"), "{}", error.detail);
        assert!(check_head(&head("application/x-protobuf", "716800")).is_ok());
        assert!(check_head(&head("application/json", "955736")).is_ok(), "base64 of a payload within the limit");
        assert!(check_head(&head("application/json", "99999999999")).is_err());
    }
}
