//! Direct questions to the workers of a queue, over a core NATS queue group: at most once, nothing stored.
//!
//! A worker without a free slot answers `busy` at once, and another one is asked until the deadline; no worker at all
//! is an answer at once too. There is no other repetition: the handler may have run.

use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use bytes::Bytes;
use opentelemetry::Context;
use prost::Message as _;
use tokio::time::Instant;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::limits::PAYLOAD_BYTES_MAX;
use workfleet_proto::names::header;
use workfleet_proto::v1::{self, call_reply::Answer};

use crate::admit::Payload;
use crate::dispatcher::{Inner, Output};
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::limits::{CALL_BUSY_PAUSES, CALL_TIMEOUT_DEFAULT, CALL_TIMEOUT_MAX};
use crate::spans;
use crate::transcode;
use crate::view::FailureView;

/// Failures that a worker's runtime gives; every other code is the handler's own.
const RUNTIME_CODES: [&str; 6] = ["error", "panic", "timeout", "undecodable", "output_too_large", "worker_lost"];

/// A direct question to the workers of a queue.
#[derive(Debug, Clone)]
pub struct Call {
    /// The queue's name, as the caller wrote it.
    pub queue: String,
    /// The kind's input message.
    pub payload: Payload,
    /// The longest time to wait for the answer; the default is 10 s, the most 60 s.
    pub timeout: Option<Duration>,
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Called {
    /// What the handler gave.
    pub output: Output,
    /// The worker process that answered.
    pub worker: String,
}

/// Asks until somebody answers or the time is over.
///
/// # Errors
/// When no worker answers in time, or the handler fails.
pub(crate) async fn call(inner: &Inner, call: Call) -> Result<Called, ApiError> {
    let time = call.timeout.unwrap_or(CALL_TIMEOUT_DEFAULT);
    if time.is_zero() || time > CALL_TIMEOUT_MAX {
        let detail = format!("timeout must be more than nothing and at most {} s", CALL_TIMEOUT_MAX.as_secs());
        return Err(ApiError::invalid_option("timeout", detail));
    }
    let _permit = inner
        .calls
        .try_acquire()
        .map_err(|_| ApiError::new(Code::RateLimited, "too many direct calls at once").retry_after_ms(1_000))?;
    let queue = inner.kinds.queue(&call.queue).await?;
    let kind = queue.kind()?;
    let payload = transcode::check(call.payload, &kind.schema.input, PAYLOAD_BYTES_MAX)?.bytes;
    let span = spans::call(&queue.name);
    let asked = Question {
        inner,
        subject: inner.broker.names.call(&queue.name),
        headers: headers(kind.schema.hash.as_str(), time, span.context()),
        payload,
        until: Instant::now() + time,
    };
    let answer = finish(inner, &queue, asked.ask().await).await;
    span.end(answer.as_ref().map(|_| ()));
    answer
}

fn headers(schema: &str, time: Duration, context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let deadline_ms = now_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    headers.insert(header::SCHEMA, schema);
    headers.insert(header::DEADLINE_MS, deadline_ms.to_string());
    trace::inject(context, &mut headers);
    headers
}

struct Question<'a> {
    inner: &'a Inner,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    until: Instant,
}

impl Question<'_> {
    async fn ask(&self) -> Result<v1::CallReply, ApiError> {
        if !self.inner.broker.is_connected() {
            return Err(unavailable("the broker cannot be reached".to_owned()));
        }
        let (mut pause, pause_max) = CALL_BUSY_PAUSES;
        loop {
            let reply = self.ask_once().await?;
            if !matches!(reply.answer, Some(Answer::Busy(_))) {
                return Ok(reply);
            }
            if Instant::now() + pause >= self.until {
                return Err(ApiError::new(Code::Busy, "every worker was busy until the deadline").retry_after_ms(1_000));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pause_max);
        }
    }

    async fn ask_once(&self) -> Result<v1::CallReply, ApiError> {
        let left = self.until.saturating_duration_since(Instant::now());
        let request =
            async_nats::Request::new().payload(self.payload.clone()).headers(self.headers.clone()).timeout(Some(left));
        let client = &self.inner.broker.client;
        let message = client.send_request(self.subject.clone(), request).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => {
                ApiError::new(Code::NoWorkers, "no worker of this queue is connected").retry_after_ms(1_000)
            }
            RequestErrorKind::TimedOut => {
                ApiError::new(Code::DeadlineExceeded, "no worker answered in time; the handler may have run")
            }
            RequestErrorKind::MaxPayloadExceeded => transcode::too_large(self.payload.len(), PAYLOAD_BYTES_MAX),
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => unavailable(error.to_string()),
        })?;
        v1::CallReply::decode(message.payload)
            .map_err(|error| ApiError::new(Code::CallFailed, format!("the worker's answer cannot be read: {error}")))
    }
}

async fn finish(inner: &Inner, queue: &Queue, reply: Result<v1::CallReply, ApiError>) -> Result<Called, ApiError> {
    let reply = reply?;
    let output = match reply.answer {
        Some(Answer::Output(output)) => output,
        Some(Answer::Failure(failure)) => return Err(failed(failure)),
        Some(Answer::Busy(_)) | None => {
            return Err(ApiError::new(Code::CallFailed, "the worker's answer is empty"));
        }
    };
    let json = inner.kinds.output_json(queue, &reply.schema, &output).await;
    let json = json.ok_or_else(|| ApiError::new(Code::CallFailed, "the worker's output does not fit its kind"))?;
    Ok(Called { output: Output { protobuf: output, json }, worker: reply.worker })
}

fn failed(failure: v1::Failure) -> ApiError {
    let code = if RUNTIME_CODES.contains(&failure.code.as_str()) { Code::CallFailed } else { Code::CallRejected };
    let detail = format!("{}: {}", failure.code, failure.message);
    ApiError::new(code, detail).failure(FailureView::of(failure, &[]))
}
