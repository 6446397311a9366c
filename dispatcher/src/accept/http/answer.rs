//! Answers in the form that was asked for.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;

use super::parts::Form;
use crate::error::{ApiError, Code};

pub(super) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A view as JSON, or the message that it is in protobuf.
pub(super) fn view<V, M>(status: StatusCode, form: Form, view: V) -> Response
where
    V: Serialize + Into<M>,
    M: Message,
{
    match form {
        Form::Protobuf => bytes(status, form, view.into().encode_to_vec().into()),
        Form::Json => json(status, &view),
    }
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => bytes(status, Form::Json, text.into()),
        Err(error) => ApiError::new(Code::Internal, format!("the answer cannot be written: {error}")).into_response(),
    }
}

/// Bytes that are in their form already.
pub(super) fn bytes(status: StatusCode, form: Form, bytes: Bytes) -> Response {
    let media = match form {
        Form::Json => JSON,
        Form::Protobuf => PROTOBUF,
    };
    (status, [(header::CONTENT_TYPE, media)], bytes).into_response()
}

/// Adds a header. A value that is none is left out; ours always are.
pub(super) fn add(answer: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
