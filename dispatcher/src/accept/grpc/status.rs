//! A refusal as a gRPC status. The stable code is metadata, since gRPC's sixteen codes cannot tell a full queue from a
//! busy worker.

use std::any::Any;

use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};
use workfleet_proto::v1;

use crate::error::{ApiError, Code};

const CODE: &str = "workfleet-code";
const FIELD: &str = "workfleet-field";
const RETRY_AFTER_MS: &str = "workfleet-retry-after-ms";
const TASK_ID: &str = "workfleet-task-id";

/// The status that tells of `error`.
pub(super) fn status(error: &ApiError) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE, MetadataValue::from_static(error.code.name()));
    let mut put = |name: &'static str, text: Option<String>| {
        if let Some(value) = text.and_then(|text| MetadataValue::try_from(text).ok()) {
            metadata.insert(name, value);
        }
    };
    put(FIELD, error.field.clone());
    put(RETRY_AFTER_MS, error.retry_after_ms.map(|ms| ms.to_string()));
    put(TASK_ID, error.task_id.as_ref().map(ToString::to_string));
    Status::with_metadata(error.code.grpc(), v1::Problem::from(error).detail, metadata)
}

/// What broke a stream of requests off, where we can say more than the layer below us.
pub(super) fn broken_off(broken: Status) -> Status {
    if is_too_large(&broken) { status(&message_too_large()) } else { broken }
}

/// Whether the layer below us refused a message for its size.
pub(super) fn is_too_large(status: &Status) -> bool {
    status.code() == tonic::Code::OutOfRange && status.message().contains("message length too large")
}

/// The refusal of a message that is larger than any may be.
pub(super) fn message_too_large() -> ApiError {
    let detail = "a message has 4 MiB at most; a larger payload goes by PutBlob in pieces, or over REST";
    ApiError::new(Code::PayloadTooLarge, detail)
}

/// For streams that would otherwise never end. There is nothing wrong with the request.
pub(super) fn stopping() -> Status {
    status(&ApiError::new(Code::BrokerUnavailable, "this dispatcher is stopping; connect again"))
}

/// A message that is too large is refused below us, by its size alone; whoever sent it is told what to do instead.
pub(super) fn name_the_other_ways<B>(mut response: http::Response<B>) -> http::Response<B> {
    let headers = response.headers_mut();
    let says = |name: &str, part: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(part))
    };
    // OUT_OF_RANGE; the sentence is percent-encoded.
    if says("grpc-status", "11") && says("grpc-message", "message%20length%20too%20large") {
        let told = status(&message_too_large()).into_http::<()>();
        for name in ["grpc-status", "grpc-message", CODE] {
            if let Some(value) = told.headers().get(name) {
                headers.insert(name, value.clone());
            }
        }
    }
    response
}

/// A panic is a mistake of ours, and one request's only: without this it would end every stream of its connection.
#[allow(clippy::needless_pass_by_value, reason = "the layer hands the panic over like this")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> http::Response<tonic::body::Body> {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = said.unwrap_or("something that is no text"), "a request's handler panicked");
    status(&ApiError::new(Code::Internal, "a mistake of the dispatcher's; its log has more")).into_http()
}

#[cfg(test)]
mod tests {
    use super::status;
    use crate::error::{ApiError, Code};

    #[test]
    fn a_status_carries_the_stable_code_and_what_would_have_been_right() {
        let error = ApiError::new(Code::UnknownQueue, "there is no queue `post`").known(vec!["mail".to_owned()]);
        let status = status(&error);
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(status.message(), "there is no queue `post`; known: mail");
        assert_eq!(status.metadata().get("workfleet-code").expect("a code"), "unknown_queue");
    }

    #[test]
    fn what_cannot_be_metadata_is_left_out_and_nothing_breaks() {
        let status = status(&ApiError::invalid_option("a\nb", "wrong").retry_after_ms(5));
        assert!(status.metadata().get("workfleet-field").is_none());
        assert_eq!(status.metadata().get("workfleet-retry-after-ms").expect("a time"), "5");
    }
}
