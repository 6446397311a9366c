//! What tests/fuzz asks of the REST edge.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

use super::parts::{self, Form};
use crate::error::ApiError;

/// What the headers of one request were read as.
pub(crate) fn headers(headers: &HeaderMap) -> (Option<Duration>, bool, Result<Option<String>, ApiError>) {
    let key = parts::single(headers, &HeaderName::from_static("idempotency-key"), "Idempotency-Key");
    (parts::wait(headers), parts::accepted(headers) == Form::Protobuf, key)
}
