//! Every error that a caller can meet: one table from code to HTTP status and gRPC code.
//!
//! A code is for programs and never changes; the detail is for people and may. The alternative, an error type per
//! station, would let HTTP and gRPC answer one mistake in two ways.

mod from_link;
mod problem;

use std::fmt;

use workfleet_proto::id::TaskId;

pub(crate) use from_link::unavailable;
pub use problem::Problem;

use crate::view::FailureView;

/// The stable name of what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No such queue.
    UnknownQueue,
    /// No such task, or its result is no longer kept.
    UnknownTask,
    /// No such blob, or it is no longer kept.
    UnknownBlob,
    /// The task has no dead letter.
    UnknownDeadLetter,
    /// The body is not JSON.
    InvalidJson,
    /// The body does not fit the kind's input message.
    InvalidPayload,
    /// An option, a header or a query parameter is wrong.
    InvalidOption,
    /// The body's content type is neither JSON nor protobuf.
    UnsupportedMediaType,
    /// The payload is larger than one message may be.
    PayloadTooLarge,
    /// The queue has reached its limit.
    QueueFull,
    /// The queue's object stores have reached their limit.
    BlobsFull,
    /// More of this at once than the dispatcher allows.
    RateLimited,
    /// A direct call found no worker.
    NoWorkers,
    /// A direct call found no free slot before its deadline.
    Busy,
    /// A direct call was not answered in time.
    DeadlineExceeded,
    /// The idempotency key was used with another payload.
    Conflict,
    /// It is not known who asks: no token, or one that is not good.
    Unauthenticated,
    /// Whoever asks may not do this.
    Forbidden,
    /// It cannot be checked now who asks.
    KeysUnavailable,
    /// The task has not ended yet, so it has no output.
    NotEnded,
    /// The task ended without an output.
    NoOutput,
    /// The handler of a direct call refused its input.
    CallRejected,
    /// The worker could not carry out a direct call.
    CallFailed,
    /// The broker cannot be reached, or did not answer.
    BrokerUnavailable,
    /// The body did not arrive in time.
    RequestTimeout,
    /// There is nothing under this path.
    NotFound,
    /// The path is right and the method is not.
    MethodNotAllowed,
    /// A mistake of ours.
    Internal,
}

struct Row {
    code: Code,
    name: &'static str,
    status: u16,
    grpc: tonic::Code,
    title: &'static str,
}

const fn row(code: Code, name: &'static str, status: u16, grpc: tonic::Code, title: &'static str) -> Row {
    Row { code, name, status, grpc, title }
}

/// In the order of [`Code`]; a test holds them together.
#[rustfmt::skip]
const TABLE: [Row; 28] = [
    row(Code::UnknownQueue,         "unknown_queue",          404, tonic::Code::NotFound,           "Unknown queue"),
    row(Code::UnknownTask,          "unknown_task",           404, tonic::Code::NotFound,           "Unknown task"),
    row(Code::UnknownBlob,          "unknown_blob",           404, tonic::Code::NotFound,           "Unknown blob"),
    row(Code::UnknownDeadLetter,    "unknown_dead_letter",    404, tonic::Code::NotFound,           "Unknown dead letter"),
    row(Code::InvalidJson,          "invalid_json",           400, tonic::Code::InvalidArgument,    "The body is not JSON"),
    row(Code::InvalidPayload,       "invalid_payload",        422, tonic::Code::InvalidArgument,    "The payload does not fit the kind"),
    row(Code::InvalidOption,        "invalid_option",         400, tonic::Code::InvalidArgument,    "Invalid option"),
    row(Code::UnsupportedMediaType, "unsupported_media_type", 415, tonic::Code::InvalidArgument,    "Unsupported media type"),
    row(Code::PayloadTooLarge,      "payload_too_large",      413, tonic::Code::InvalidArgument,    "The payload is too large"),
    row(Code::QueueFull,            "queue_full",             429, tonic::Code::ResourceExhausted,  "The queue is full"),
    row(Code::BlobsFull,            "blobs_full",             429, tonic::Code::ResourceExhausted,  "The object store is full"),
    row(Code::RateLimited,          "rate_limited",           429, tonic::Code::ResourceExhausted,  "Too much at once"),
    row(Code::NoWorkers,            "no_workers",             503, tonic::Code::Unavailable,        "No worker is connected"),
    row(Code::Busy,                 "busy",                   429, tonic::Code::ResourceExhausted,  "Every worker is busy"),
    row(Code::DeadlineExceeded,     "deadline_exceeded",      504, tonic::Code::DeadlineExceeded,   "No answer in time"),
    row(Code::Conflict,             "conflict",               409, tonic::Code::AlreadyExists,      "Conflict"),
    row(Code::Unauthenticated,      "unauthenticated",        401, tonic::Code::Unauthenticated,    "Not authenticated"),
    row(Code::Forbidden,            "forbidden",              403, tonic::Code::PermissionDenied,   "Not allowed"),
    row(Code::KeysUnavailable,      "keys_unavailable",       503, tonic::Code::Unavailable,        "Tokens cannot be checked now"),
    row(Code::NotEnded,             "not_ended",              409, tonic::Code::FailedPrecondition, "The task has not ended"),
    row(Code::NoOutput,             "no_output",              409, tonic::Code::FailedPrecondition, "The task ended without an output"),
    row(Code::CallRejected,         "call_rejected",          422, tonic::Code::FailedPrecondition, "The handler refused the call"),
    row(Code::CallFailed,           "call_failed",            502, tonic::Code::Aborted,            "The call failed"),
    row(Code::BrokerUnavailable,    "broker_unavailable",     503, tonic::Code::Unavailable,        "The broker is unavailable"),
    row(Code::RequestTimeout,       "request_timeout",        408, tonic::Code::DeadlineExceeded,   "The body came too slowly"),
    row(Code::NotFound,             "not_found",              404, tonic::Code::NotFound,           "Not found"),
    row(Code::MethodNotAllowed,     "method_not_allowed",     405, tonic::Code::Unimplemented,      "Method not allowed"),
    row(Code::Internal,             "internal",               500, tonic::Code::Internal,           "Internal error"),
];

impl Code {
    /// Every code, for the OpenAPI document and the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The code as it is written: `queue_full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// The gRPC code.
    #[must_use]
    pub fn grpc(self) -> tonic::Code {
        self.row().grpc
    }

    /// A short, fixed sentence.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }
}

/// What a caller is told when a request cannot be done.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Fault>);

/// The parts of an [`ApiError`].
#[derive(Debug, Clone)]
pub struct Fault {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong and what to change.
    pub detail: String,
    /// What would have been right, where there is a list of that.
    pub known: Vec<String>,
    /// The field or parameter at fault.
    pub field: Option<String>,
    /// The line at fault in a request of many.
    pub line: Option<u64>,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
    /// The task that may exist nevertheless.
    pub task_id: Option<TaskId>,
    /// What the handler said.
    pub failure: Option<FailureView>,
}

impl std::ops::Deref for ApiError {
    type Target = Fault;

    fn deref(&self) -> &Fault {
        &self.0
    }
}

impl ApiError {
    /// An error of `code`.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Fault {
            code,
            detail: detail.into(),
            known: Vec::new(),
            field: None,
            line: None,
            retry_after_ms: None,
            task_id: None,
            failure: None,
        }))
    }

    /// An option that is not understood, or whose value is wrong.
    #[must_use]
    pub fn invalid_option(field: &str, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidOption, detail).field(field)
    }

    /// The same error with a list of what would have been right.
    #[must_use]
    pub fn known(mut self, known: Vec<String>) -> Self {
        self.0.known = known;
        self
    }

    /// The same error with the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The same error with the line at fault.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// The same error with a time to wait before trying again.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.0.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The same error with the task that may exist nevertheless.
    #[must_use]
    pub fn task_id(mut self, id: &TaskId) -> Self {
        self.0.task_id = Some(id.clone());
        self
    }

    /// The same error with what the handler said.
    #[must_use]
    pub fn failure(mut self, failure: FailureView) -> Self {
        self.0.failure = Some(failure);
        self
    }

    /// The error as the body of an answer.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let fault = &*self.0;
        Problem {
            kind: "about:blank".to_owned(),
            title: fault.code.title().to_owned(),
            status: fault.code.status(),
            detail: fault.detail.clone(),
            code: fault.code.name().to_owned(),
            known: fault.known.clone(),
            field: fault.field.clone(),
            line: fault.line,
            retry_after_ms: fault.retry_after_ms,
            task_id: fault.task_id.as_ref().map(ToString::to_string),
            failure: fault.failure.clone(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::{ApiError, Code, TABLE};

    #[test]
    fn every_row_stands_where_its_code_points() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.code as usize, at, "{}", row.name);
        }
        assert_eq!(Code::Internal as usize + 1, TABLE.len());
    }

    #[test]
    fn no_two_codes_share_a_name_and_every_status_is_an_error() {
        let mut names: Vec<&str> = Code::all().map(Code::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(Code::all().all(|code| (400..600).contains(&code.status())));
        assert!(Code::all().all(|code| code.grpc() != tonic::Code::Ok));
    }

    #[test]
    fn a_problem_leaves_out_what_does_not_apply() {
        let problem = ApiError::invalid_option("delay", "wrong").problem();
        let json = serde_json::to_value(&problem).expect("plain data");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "about:blank", "title": "Invalid option", "status": 400, "detail": "wrong",
                "code": "invalid_option", "field": "delay"
            })
        );
    }
}
