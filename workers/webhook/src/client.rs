//! Sends a delivery and waits for what the receiver says, within its time.
//!
//! The status decides. The body behind it is read for people only: a few KiB, and not for long, so that a receiver that
//! sends without end, or a byte a second, holds no slot. A connection whose body was not read to its end is closed.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::{ConnectError, Connector, Peer};
use crate::error::DeliveryError;
use crate::resolve::Resolve;
use crate::settings::Settings;
use crate::target::Target;

/// Most of an answer's body that is read.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest time that is waited for it.
const BODY_TIME_MAX: Duration = Duration::from_secs(1);
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a connection is kept for the next delivery to the same receiver, and how many of them.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
const IDLE_PER_HOST_MAX: usize = 8;
/// Who says it is.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("workfleet-webhook/", env!("CARGO_PKG_VERSION")));

/// What the receiver said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    /// From the beginning to the status.
    pub(crate) duration: Duration,
    /// The beginning of the body, where it is text.
    pub(crate) body: String,
    pub(crate) peer: Option<Peer>,
}

/// A pooled client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
}

impl Client {
    pub(crate) fn new(settings: Settings, resolver: Arc<dyn Resolve>) -> Self {
        let connector = Connector::new(settings.addresses, resolver, settings.roots);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Self { http }
    }

    /// Posts `body` with `headers`; the answer is there within `limit`, or none is.
    pub(crate) async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, DeliveryError> {
        let begun = Instant::now();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, AGENT);
        let response = tokio::time::timeout(limit, self.http.request(request))
            .await
            .map_err(|_| DeliveryError::Timeout(limit))?
            .map_err(|error| unanswered(&target.host, &error))?;
        let duration = begun.elapsed();
        let peer = response.extensions().get::<Peer>().copied();
        let (head, body) = response.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = beginning(body, BODY_TIME_MAX.min(limit.saturating_sub(duration))).await;
        Ok(Answer { status: head.status, retry_after, duration, body, peer })
    }
}

/// As much of the body as comes in time and is kept.
async fn beginning(mut body: Incoming, limit: Duration) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let room = BODY_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() >= room {
                break;
            }
        }
    };
    // However far it came, that is what is kept.
    let _ = tokio::time::timeout(limit, reading).await;
    text(bytes)
}

/// Text that may have been cut within a character; nothing of what is no text.
fn text(mut bytes: Vec<u8>) -> String {
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Why there is no answer: the deepest reason is the one that says something.
fn unanswered(host: &str, error: &legacy::Error) -> DeliveryError {
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
        if let Some(ConnectError::Private { address, range }) = reason.downcast_ref() {
            return DeliveryError::PrivateAddress { host: host.to_owned(), address: *address, range };
        }
    }
    DeliveryError::Unreachable(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_character_that_was_cut_is_left_out_and_what_is_no_text_too() {
        assert_eq!(text("äö".as_bytes()[..3].to_vec()), "ä");
        assert_eq!(text(b"ok".to_vec()), "ok");
        assert_eq!(text(b"\x89PNG\r\n".to_vec()), "");
    }
}
