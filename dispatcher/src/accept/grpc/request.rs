//! Messages of `workfleet.v1` to submits and calls. What the message can say and the dispatcher cannot do yet is
//! refused by name: an option that is silently ignored is a broken promise.

use std::time::Duration;

use prost_types::Timestamp;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1;
use workfleet_proto::v1::call_request::Payload as CallPayload;
use workfleet_proto::v1::submit_request::Payload as SubmitPayload;

use crate::admit::{Deadline, Options, Payload, Submit};
use crate::call::Call;
use crate::cancel::CancelMany;
use crate::error::{ApiError, Code};
use crate::list::{ListTasks, unknown_state};
use crate::view::{Cursor, UnixMs};

/// A submit.
pub(in crate::accept) fn submit(request: v1::SubmitRequest) -> Result<Submit, ApiError> {
    let payload = match request.payload {
        Some(SubmitPayload::Protobuf(bytes)) => Payload::Protobuf(bytes),
        Some(SubmitPayload::Json(text)) => Payload::Json(text.into()),
        None => return Err(no_payload()),
    };
    Ok(Submit {
        queue: request.queue,
        payload,
        idempotency_key: request.idempotency_key,
        wait: duration("wait_ms", request.wait_ms)?.filter(|wait| !wait.is_zero()),
        options: options(request.options.unwrap_or_default())?,
    })
}

/// One submit of many: its answer must not hold up those behind it.
pub(super) fn submit_of_many(request: v1::SubmitRequest) -> Result<Submit, ApiError> {
    let submit = submit(request)?;
    match submit.wait {
        None => Ok(submit),
        Some(_) => Err(ApiError::invalid_option("wait_ms", "a stream of submits does not wait; use Submit, or Watch")),
    }
}

/// A call.
pub(super) fn call(request: v1::CallRequest) -> Result<Call, ApiError> {
    let payload = match request.payload {
        Some(CallPayload::Protobuf(bytes)) => Payload::Protobuf(bytes),
        Some(CallPayload::Json(text)) => Payload::Json(text.into()),
        None => return Err(no_payload()),
    };
    Ok(Call { queue: request.queue, payload, timeout: duration("timeout_ms", request.timeout_ms)? })
}

/// A task's id. What is none cannot be the id of any task.
pub(super) fn task_id(text: &str) -> Result<TaskId, ApiError> {
    text.parse().map_err(|error: workfleet_proto::id::IdError| ApiError::new(Code::UnknownTask, error.to_string()))
}

/// A question for a page of tasks.
pub(super) fn list(request: v1::ListTasksRequest) -> Result<ListTasks, ApiError> {
    let state = request.state.map(|number| v1::State::try_from(number).map_err(|_| unknown_state(&number.to_string())));
    Ok(ListTasks {
        queue: request.queue,
        state: state.transpose()?,
        labels: request.labels.into_iter().collect(),
        limit: request.limit,
        cursor: request.cursor,
    })
}

/// Which tasks are to be cancelled.
pub(in crate::accept) fn cancel_many(request: v1::CancelManyRequest) -> Result<CancelMany, ApiError> {
    let filter = request.filter.unwrap_or_default();
    let state = filter.state.map(|number| v1::State::try_from(number).map_err(|_| unknown_state(&number.to_string())));
    Ok(CancelMany {
        queue: request.queue,
        ids: request.ids,
        labels: filter.labels.into_iter().collect(),
        state: state.transpose()?,
        limit: filter.limit,
        cursor: filter.cursor,
        reason: request.reason,
    })
}

/// Where a reader was.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    text.filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|error| ApiError::invalid_option("cursor", format!("{error}"))))
        .transpose()
}

fn options(options: v1::SubmitOptions) -> Result<Options, ApiError> {
    if options.tenant.is_some() {
        return Err(ApiError::invalid_option("tenant", "the option `tenant` is not there yet"));
    }
    Ok(Options {
        delay: duration("delay_ms", options.delay_ms)?,
        at: options.at.map(|at| time("at", at)).transpose()?,
        deadline: options.deadline.map(|at| time("deadline", at).map(Deadline::At)).transpose()?,
        timeout: duration("timeout_ms", options.timeout_ms)?,
        priority: options.priority,
        ordering_key: options.ordering_key,
        attempts_max: options.attempts_max,
        labels: options.labels.into_iter().collect(),
    })
}

fn duration(field: &str, ms: Option<i64>) -> Result<Option<Duration>, ApiError> {
    let Some(ms) = ms else { return Ok(None) };
    let ms = u64::try_from(ms).map_err(|_| ApiError::invalid_option(field, format!("{field} is negative")))?;
    Ok(Some(Duration::from_millis(ms)))
}

pub(super) fn time(field: &str, at: Timestamp) -> Result<UnixMs, ApiError> {
    let ms = at.seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(i64::from(at.nanos / 1_000_000)));
    match ms {
        Some(ms) if (0..1_000_000_000).contains(&at.nanos) => Ok(UnixMs(ms)),
        _ => Err(ApiError::invalid_option(field, format!("{field} is not a point in time"))),
    }
}

fn no_payload() -> ApiError {
    ApiError::new(Code::InvalidPayload, "the request has neither `protobuf` nor `json`").field("payload")
}

#[cfg(test)]
mod tests {
    use super::{cursor, submit, submit_of_many, task_id, time};
    use crate::admit::Payload;
    use crate::error::Code;
    use prost_types::Timestamp;
    use workfleet_proto::v1::submit_request::Payload as SubmitPayload;
    use workfleet_proto::v1::{SubmitOptions, SubmitRequest};

    fn request(options: SubmitOptions) -> SubmitRequest {
        SubmitRequest {
            queue: "mail".to_owned(),
            payload: Some(SubmitPayload::Json("{}".to_owned())),
            options: Some(options),
            ..SubmitRequest::default()
        }
    }

    #[test]
    fn what_is_asked_for_arrives() {
        let at = Timestamp { seconds: 5, nanos: 7_000_000 };
        let asked = SubmitOptions { at: Some(at), attempts_max: Some(3), ..SubmitOptions::default() };
        let submit = submit(SubmitRequest { wait_ms: Some(0), ..request(asked) }).expect("a good request");
        assert!(matches!(submit.payload, Payload::Json(_)));
        assert_eq!((submit.options.at.map(|at| at.0), submit.options.attempts_max), (Some(5_007), Some(3)));
        assert_eq!(submit.wait, None, "0 means: do not wait");
    }

    #[test]
    fn an_option_that_is_not_there_yet_is_refused_by_name() {
        let asked = SubmitOptions { tenant: Some("a".to_owned()), ..SubmitOptions::default() };
        let error = submit(request(asked)).expect_err("no tenants yet");
        assert_eq!((error.code, error.field.as_deref()), (Code::InvalidOption, Some("tenant")));
    }

    #[test]
    fn mistakes_are_refused() {
        let negative = SubmitOptions { delay_ms: Some(-1), ..SubmitOptions::default() };
        assert_eq!(submit(request(negative)).expect_err("negative").code, Code::InvalidOption);
        assert_eq!(submit(SubmitRequest::default()).expect_err("no payload").code, Code::InvalidPayload);
        let waiting = SubmitRequest { wait_ms: Some(5), ..request(SubmitOptions::default()) };
        assert_eq!(submit_of_many(waiting).expect_err("no waiting").code, Code::InvalidOption);
        for at in [Timestamp { seconds: i64::MAX, nanos: 0 }, Timestamp { seconds: 0, nanos: -1 }] {
            assert!(time("at", at).is_err());
        }
        assert_eq!(task_id("mail_*").expect_err("no id").code, Code::UnknownTask);
        assert_eq!(cursor(Some("x")).expect_err("no cursor").code, Code::InvalidOption);
        assert!(cursor(Some("")).expect("none").is_none());
    }
}
