//! Direct calls: core NATS, the same handler, the same slots.
//!
//! A call is a question to which only a fresh answer counts. Nothing of it is stored and nothing is tried again: a
//! worker without a free slot says so at once, and the caller asks another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use futures::StreamExt as _;
use prost::Message as _;
use tokio::task::JoinHandle;
use workfleet_link::broker::NatsHeaders;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::{FAILURE_MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, cut};
use workfleet_proto::names::header;
use workfleet_proto::v1::call_reply::Answer;
use workfleet_proto::v1::{Busy, CallReply, Failure};
use workfleet_proto::wire::Headers as _;

use crate::context::{Given, Origin};
use crate::handling::{Handling, Ran};
use crate::outcome::Outcome;
use crate::reach::Reach;
use crate::slots::Slot;
use crate::span;
use crate::station::{Station, code, duration_ms};
use crate::worker::RunError;

/// How long the last calls may take after the subscription has ended.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// A question on its way to the handler.
struct Call {
    reply: Subject,
    headers: HeaderMap,
    payload: bytes::Bytes,
}

/// Joins the queue's group of workers that answer calls.
pub(crate) async fn serve(station: &Arc<Station>) -> Result<JoinHandle<()>, RunError> {
    let subject = station.broker.names.call(&station.queue);
    let calls = station.broker.client.queue_subscribe(subject.clone(), station.queue.to_string()).await;
    let calls = calls.map_err(|error| RunError::Subscribe { subject, reason: error.to_string() })?;
    Ok(tokio::spawn(take(Arc::clone(station), calls)))
}

async fn take(station: Arc<Station>, mut calls: Subscriber) {
    let draining = station.drain.draining.clone();
    while let Some(Some(message)) = draining.run_until_cancelled(calls.next()).await {
        let Some(call) = Call::read(message) else { continue };
        match station.slots.try_take() {
            Some(slot) => station.spawn(answer(Arc::clone(&station), call, slot)),
            None => refuse(&station, call).await,
        }
    }
    let rest = async {
        if !station.broker.is_connected() || calls.drain().await.is_err() {
            return;
        }
        while let Some(message) = calls.next().await {
            if let Some(call) = Call::read(message) {
                refuse(&station, call).await;
            }
        }
    };
    let _ = tokio::time::timeout(LEAVE_TIME_MAX, rest).await;
}

impl Call {
    /// `None` where nobody waits for an answer.
    fn read(message: Message) -> Option<Self> {
        let headers = message.headers.unwrap_or_default();
        Some(Self { reply: message.reply?, headers, payload: message.payload })
    }

    /// How much time is left, if the caller says.
    fn time_left(&self) -> Option<Duration> {
        let deadline_ms: i64 = NatsHeaders(&self.headers).value(header::DEADLINE_MS)?.parse().ok()?;
        Some(duration_ms(deadline_ms.saturating_sub(now_ms())))
    }
}

async fn refuse(station: &Station, call: Call) {
    station.metrics.called("busy");
    send(station, call.reply, Answer::Busy(Busy {})).await;
}

async fn answer(station: Arc<Station>, call: Call, slot: Slot) {
    let timeout = duration_ms(station.settings.timeout_ms);
    let patience = call.time_left().unwrap_or(timeout);
    let time = patience.min(timeout);
    if time.is_zero() {
        // Whoever asked has given up.
        return station.metrics.called("late");
    }
    let task_id = TaskId::new(&station.queue, u64::try_from(now_ms()).unwrap_or(0), rand::random(), None);
    let trace = span::call(&station, &trace::extract(&call.headers), task_id.as_str());
    let handling = Handling::new(&Arc::new(slot), |cancelled, slot| Given {
        task_id,
        attempt: 1,
        attempts_max: 1,
        deadline: Instant::now() + time,
        cancelled,
        slot,
        origin: Origin::Call,
        reach: Reach::fleet(&station),
    });
    let ran = handling.run(&station, call.payload, trace.clone(), None).await;
    // At its own deadline the caller says so itself; an answer now would race with that.
    let awaited = !matches!(ran, Ran::TimedOut) || patience > timeout;
    let answer = concluded(ran);
    match &answer {
        Answer::Failure(failure) => {
            station.metrics.called("failed");
            span::fail(&trace, failure);
        }
        Answer::Output(_) | Answer::Busy(_) => station.metrics.called("completed"),
    }
    span::end(&trace);
    if awaited {
        send(&station, call.reply, answer).await;
    }
}

fn concluded(ran: Ran) -> Answer {
    let failed = |code: &str, message: &str| {
        let message = cut(message, FAILURE_MESSAGE_BYTES_MAX).to_owned();
        Answer::Failure(Failure { code: code.to_owned(), message })
    };
    match ran {
        Ran::Ended(Outcome::Completed(output)) if output.len() > PAYLOAD_BYTES_MAX => {
            failed(code::OUTPUT_TOO_LARGE, &format!("the output has {} bytes", output.len()))
        }
        Ran::Ended(Outcome::Completed(output)) => Answer::Output(output),
        Ran::Ended(Outcome::Failed(error)) => Answer::Failure(error.failure()),
        Ran::Ended(Outcome::Undecodable(reason)) => failed(code::UNDECODABLE, &reason),
        Ran::Panicked(message) => failed(code::PANIC, &message),
        Ran::TimedOut => failed(code::TIMEOUT, "the call took longer than its time"),
        // It had begun, so no other worker may be asked: a call happens at most once. The last two end tasks alone.
        Ran::Cut | Ran::Halted(_) | Ran::Expired => failed(code::WORKER_LOST, "the worker was stopped"),
    }
}

async fn send(station: &Station, reply: Subject, answer: Answer) {
    let reply_body = CallReply { answer: Some(answer), worker: station.worker.clone(), schema: station.schema.clone() };
    if let Err(error) = station.broker.client.publish(reply, reply_body.encode_to_vec().into()).await {
        tracing::debug!(%error, "an answer is not sent");
    }
}

#[cfg(test)]
mod tests {
    use super::Call;
    use async_nats::{HeaderMap, Subject};
    use std::time::Duration;
    use workfleet_proto::names::header;

    #[test]
    fn a_deadline_from_the_beginning_of_time_is_over() {
        let mut headers = HeaderMap::new();
        headers.insert(header::DEADLINE_MS, i64::MIN.to_string());
        let call = Call { reply: Subject::from_static("x"), headers, payload: bytes::Bytes::new() };
        assert_eq!(call.time_left(), Some(Duration::ZERO));
    }
}
