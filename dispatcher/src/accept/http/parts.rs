//! Paths, queries and headers, read with care: strangers write them.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::TaskId;

use crate::error::{ApiError, Code};
use crate::limits::WAIT_MAX;

/// `{queue}` of the path. Whether there is such a queue is seen later.
pub(super) struct QueuePath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for QueuePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(queue)| Self(queue))
            .map_err(|error| ApiError::new(Code::UnknownQueue, format!("the path names no queue: {error}")))
    }
}

/// `{id}` of the path.
pub(super) struct IdPath(pub(super) TaskId);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unknown = |error: String| ApiError::new(Code::UnknownTask, format!("no task is called so: {error}"));
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|error| unknown(error.to_string()))?;
        text.parse().map(Self).map_err(|error: workfleet_proto::id::IdError| unknown(error.to_string()))
    }
}

/// `{id}` of a blob's path.
pub(super) struct BlobPath(pub(super) BlobId);

impl<S: Send + Sync> FromRequestParts<S> for BlobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::new(Code::UnknownBlob, format!("the path names no blob: {error}")))?;
        blob_id(&text).map(Self)
    }
}

/// A blob's id. What is none is a mistake where one is made, and an unknown blob where one is looked for; the first says
/// more.
fn blob_id(text: &str) -> Result<BlobId, ApiError> {
    text.parse().map_err(|error: workfleet_proto::blob::BlobIdError| ApiError::invalid_option("id", error.to_string()))
}

/// The query as names and values.
pub(super) struct QueryPairs(pub(super) Vec<(String, String)>);

impl QueryPairs {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(pairs)| Self(pairs)).map_err(|error| ApiError::invalid_option("query", error.to_string()))
    }
}

/// The value of a header that may come once.
///
/// # Errors
/// When it comes twice, or is no text.
pub(super) fn single(headers: &HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::invalid_option(shown, "the header is given twice"));
    }
    let text = std::str::from_utf8(value.as_bytes());
    text.map(|text| Some(text.to_owned())).map_err(|_| ApiError::invalid_option(shown, "the header is not UTF-8"))
}

/// `wait` of `Prefer` (RFC 7240), 60 s at most. What is not understood there is ignored, as the RFC asks for.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    const PREFER: HeaderName = HeaderName::from_static("prefer");
    let lines = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let seconds = lines.flat_map(|line| line.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok()).flatten()
    })?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX)).filter(|time| !time.is_zero())
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The default.
    Json,
    /// Asked for by `Accept: application/x-protobuf`.
    Protobuf,
}

/// What `Accept` asks for: protobuf where it is named before JSON and anything.
pub(super) fn accepted(headers: &HeaderMap) -> Form {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(','));
    let mut names = ranges.map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let first = names.find(|name| ["application/x-protobuf", "application/json", "*/*"].contains(&name.as_str()));
    if first.as_deref() == Some("application/x-protobuf") { Form::Protobuf } else { Form::Json }
}

#[cfg(test)]
mod tests {
    use super::{Form, accepted, single, wait};
    use axum::http::{HeaderMap, HeaderName, HeaderValue};
    use std::time::Duration;

    fn headers(name: &'static str, values: &[&'static [u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_preference_to_wait_is_found_among_others_and_has_a_bound() {
        let seconds = |value: &'static str| wait(&headers("prefer", &[value.as_bytes()])).map(|time| time.as_secs());
        assert_eq!(seconds("wait=10"), Some(10));
        assert_eq!(seconds("respond-async, Wait=\"5\"; x=1"), Some(5));
        assert_eq!(seconds("wait=100000"), Some(60));
        for ignored in ["wait=0", "wait", "wait=-1", "wait=x", "", "wait=99999999999999999999"] {
            assert_eq!(seconds(ignored), None, "{ignored}");
        }
        assert_eq!(wait(&headers("prefer", &[b"handling=lenient", b"wait=3"])), Some(Duration::from_secs(3)));
    }

    #[test]
    fn hostile_headers_are_refused_and_never_a_panic() {
        let name = HeaderName::from_static("idempotency-key");
        let read = |values: &[&'static [u8]]| single(&headers("idempotency-key", values), &name, "Idempotency-Key");
        assert_eq!(read(&[b"order-1"]).expect("fine").as_deref(), Some("order-1"));
        assert!(read(&[b"a", b"b"]).is_err());
        assert!(read(&[b"\xff\xfe"]).is_err());
        assert_eq!(read(&[]).expect("fine"), None);
    }

    #[test]
    fn protobuf_is_given_to_who_names_it_first() {
        let form = |value: &'static str| accepted(&headers("accept", &[value.as_bytes()]));
        assert_eq!(form("application/x-protobuf"), Form::Protobuf);
        assert_eq!(form("text/html, application/X-Protobuf;q=0.9, */*"), Form::Protobuf);
        assert_eq!(form("application/json, application/x-protobuf"), Form::Json);
        assert_eq!(form("*/*"), Form::Json);
        assert_eq!(accepted(&HeaderMap::new()), Form::Json);
    }
}
