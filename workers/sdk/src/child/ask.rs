//! Asks a dispatcher to take a child.
//!
//! Asking again is always safe, for the child's id is fixed before the first time. So everything that may pass is asked
//! again at once, for a few seconds: a dispatcher that restarts should cost nobody an attempt. What lasts longer is the
//! queue's backoff to wait for, not a handler's that holds a slot.

use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestError, RequestErrorKind};
use bytes::Bytes;
use opentelemetry::Context as TraceContext;
use prost::Message as _;
use tokio::time::Instant;
use workfleet_link::broker::Broker;
use workfleet_link::telemetry::trace;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::{FleetSubmit, Problem, SubmitReply};

use super::code;
use crate::error::TaskError;
use crate::station::duration_ms;

/// How long a submit is tried, unless the attempt ends before.
const SUBMIT_TIME_MAX: Duration = Duration::from_secs(6);
/// How long a dispatcher may take for one answer. It awaits the broker's word meanwhile.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// First and longest wait between two tries, where the dispatcher names none.
const TRY_DELAY_MIN: Duration = Duration::from_millis(50);
const TRY_DELAY_MAX: Duration = Duration::from_secs(1);
/// Room in a message for the headers of the trace.
const HEADERS_BYTES_MAX: usize = 1_024;

/// A child as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The id that it will have.
    pub(crate) id: TaskId,
    pub(crate) queue: QueueName,
    pub(crate) submit: FleetSubmit,
    /// Where the handler was when it asked.
    pub(crate) trace: TraceContext,
}

impl Asked {
    /// Whether the child was accepted once, and nothing is left of it: it has been submitted, as was asked for.
    fn is_gone(&self, problem: &Problem) -> bool {
        let exists = self.submit.parent.as_ref().is_some_and(|parent| parent.exists);
        exists && problem.code == "unknown_task" && problem.task_id.as_deref() == Some(self.id.as_str())
    }

    /// Whether a message of so many bytes can carry it.
    pub(crate) fn fits(&self, message_bytes_max: usize) -> Result<(), TaskError> {
        let bytes_max = message_bytes_max.saturating_sub(HEADERS_BYTES_MAX);
        let bytes = self.submit.encoded_len();
        if bytes <= bytes_max {
            return Ok(());
        }
        let message = format!(
            "the submit of a {} task has {bytes} bytes, at most {bytes_max} fit a message to the dispatcher; submit what \
             leads to the data instead: the id of a blob of that queue, or this task's own id",
            self.queue
        );
        Err(TaskError::permanent(code::PAYLOAD_TOO_LARGE, message))
    }
}

/// Submits a child and gives its id. `deadline` is when the attempt ends.
///
/// # Errors
/// As [`Child::submit`](super::Child::submit) says.
pub(crate) async fn ask(broker: &Broker, asked: &Asked, deadline: Instant) -> Result<TaskId, TaskError> {
    asked.fits(broker.client.max_payload())?;
    let subject = broker.names.submit(&asked.queue);
    let mut headers = HeaderMap::new();
    trace::inject(&asked.trace, &mut headers);
    let payload = Bytes::from(asked.submit.encode_to_vec());
    let until = deadline.min(Instant::now() + SUBMIT_TIME_MAX);
    let mut delay = TRY_DELAY_MIN;
    loop {
        let request = Request::new().headers(headers.clone()).payload(payload.clone()).timeout(Some(ANSWER_TIME_MAX));
        let answer = broker.client.send_request(subject.clone(), request);
        let refusal = match tokio::time::timeout_at(until, answer).await {
            Ok(answer) => match read(answer, asked) {
                Ok(id) => return Ok(id),
                Err(refusal) => refusal,
            },
            Err(_) => return Err(Refusal::Silent.into_error(&asked.queue)),
        };
        let wait = refusal.wait().unwrap_or_else(|| delay.mul_f64(rand::random_range(0.5..1.0))).max(TRY_DELAY_MIN);
        if !refusal.may_pass() || Instant::now() + wait >= until {
            return Err(refusal.into_error(&asked.queue));
        }
        tracing::debug!(child = %asked.id, %refusal, "a submit is tried again");
        tokio::time::sleep(wait).await;
        delay = (delay * 2).min(TRY_DELAY_MAX);
    }
}

fn read(answer: Result<async_nats::Message, RequestError>, asked: &Asked) -> Result<TaskId, Refusal> {
    let message = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => Refusal::NoDispatcher,
        RequestErrorKind::TimedOut => Refusal::Silent,
        _ => Refusal::Broker(error.to_string()),
    })?;
    let reply = SubmitReply::decode(message.payload).map_err(|error| Refusal::Garbled(error.to_string()))?;
    match reply.reply {
        Some(Reply::Task(task)) if task.id == asked.id.as_str() => Ok(asked.id.clone()),
        Some(Reply::Task(task)) => Err(Refusal::Garbled(format!("{} was asked for, and {} came", asked.id, task.id))),
        Some(Reply::Problem(problem)) if asked.is_gone(&problem) => Ok(asked.id.clone()),
        Some(Reply::Problem(problem)) => Err(Refusal::Problem(problem)),
        None => Err(Refusal::Garbled("the answer is empty".to_owned())),
    }
}

/// Why a child is not there yet.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no dispatcher is connected to the broker")]
    NoDispatcher,
    #[error("no dispatcher has answered in time; the child may exist, and asking again finds it")]
    Silent,
    #[error("the broker cannot be reached: {0}")]
    Broker(String),
    #[error("the dispatcher's answer cannot be read: {0}")]
    Garbled(String),
    #[error("{}: {}", .0.code, .0.detail)]
    Problem(Problem),
}

impl Refusal {
    /// Whether the same may be taken later.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoDispatcher | Self::Silent | Self::Broker(_) => true,
            Self::Garbled(_) => false,
            Self::Problem(problem) => {
                let passing = ["queue_full", "blobs_full", "rate_limited", "broker_unavailable", "internal"];
                problem.retry_after_ms.is_some() || passing.contains(&problem.code.as_str())
            }
        }
    }

    /// When it is worth asking again, where the dispatcher says so.
    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => problem.retry_after_ms.map(duration_ms),
            _ => None,
        }
    }

    /// What the handler is told.
    pub(crate) fn into_error(self, queue: &QueueName) -> TaskError {
        let message = format!("cannot submit a {queue} task: {self}");
        let code = match &self {
            Self::NoDispatcher => code::NO_DISPATCHER,
            Self::Silent => code::NO_ANSWER,
            Self::Broker(_) => code::BROKER_UNAVAILABLE,
            // A dispatcher of another version; the next one that answers may be of ours.
            Self::Garbled(_) => code::BAD_ANSWER,
            Self::Problem(problem) if problem.code == "conflict" => {
                let message = format!(
                    "{message}; an earlier attempt submitted something else in this child's place. Name the child \
                     (`ctx.child(..).named(..)`) if attempts differ in what they submit"
                );
                return TaskError::permanent(code::CHILD_CONFLICT, message);
            }
            Self::Problem(problem) => problem.code.as_str(),
        };
        match &self {
            Self::Problem(_) if !self.may_pass() => TaskError::permanent(code, message),
            _ => match self.wait() {
                Some(wait) => TaskError::retryable(code, message).retry_after(wait),
                None => TaskError::retryable(code, message),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use std::time::Duration;
    use workfleet_proto::v1::Problem;

    fn error(code: &str, retry_after_ms: Option<i64>) -> crate::TaskError {
        let problem = Problem { code: code.to_owned(), detail: "no".to_owned(), retry_after_ms, ..Default::default() };
        Refusal::Problem(problem).into_error(&"webhook".parse().expect("a name"))
    }

    #[test]
    fn what_may_pass_is_tried_again_when_the_dispatcher_says_so() {
        for code in ["queue_full", "blobs_full", "rate_limited", "broker_unavailable"] {
            assert!(!error(code, None).is_permanent(), "{code}");
        }
        let later = error("rate_limited", Some(30_000));
        assert_eq!((later.code(), later.delay()), ("rate_limited", Some(Duration::from_secs(30))));
    }

    #[test]
    fn what_stays_wrong_is_permanent_under_the_dispatchers_code() {
        for code in ["unknown_queue", "invalid_payload", "invalid_option", "forbidden", "payload_too_large"] {
            let error = error(code, None);
            assert!(error.is_permanent() && error.code() == code, "{error}");
        }
        let conflict = error("conflict", None);
        assert!(conflict.is_permanent() && conflict.message().contains("named"), "{conflict}");
        assert_eq!(conflict.code(), "child_conflict");
    }
}
