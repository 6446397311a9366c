//! Refusals as `application/problem+json`.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, Code};

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, Json(self.problem())).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after_ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after_ms.div_ceil(1_000)));
        }
        // For whoever measures the request; it is not sent.
        answer.extensions_mut().insert(Refused(self));
        answer
    }
}

/// The refusal behind an answer.
#[derive(Debug, Clone)]
pub(super) struct Refused(pub(super) ApiError);

pub(super) async fn not_found(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::new(Code::NotFound, format!("there is nothing under {path}; /openapi.json lists what there is"))
}

pub(super) async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("{method} is not possible here; the header Allow says what is"))
}

/// A panic is a mistake of ours, and one request's only.
#[allow(clippy::needless_pass_by_value, reason = "tower-http asks for this signature")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = said.unwrap_or("something that is no text"), "a request's handler panicked");
    ApiError::new(Code::Internal, "a mistake of the dispatcher's; its log has more").into_response()
}
