//! The part of a delivery's way in which its handler runs: start, run, judge the end, settle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::Context as TraceContext;
use prost::Message as _;
use workfleet_link::time::now_ms;
use workfleet_proto::backoff;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::{FAILURE_MESSAGE_BYTES_MAX, SCHEMA_UNKNOWN_MS_MAX, cut};
use workfleet_proto::settings;
use workfleet_proto::settlement::{Ended, Plan, plan};
use workfleet_proto::v1::Failure;

use super::Carried;
use crate::context::{Given, Origin};
use crate::error::TaskError;
use crate::handling::{Handling, Outside, Ran};
use crate::metrics::Ended as MetricsEnded;
use crate::outcome::Outcome;
use crate::output::{self, NotStored, Output};
use crate::payload;
use crate::reach::Reach;
use crate::records;
use crate::settle::{Papers, Settled};
use crate::slots::Slot;
use crate::span::{self, Conclusion};
use crate::station::{code, duration_ms};

/// Room in a message for the headers of a record.
const RECORD_HEADERS_BYTES_MAX: usize = 4_096;
/// How long a task stays away whose schema this worker does not know yet.
const SCHEMA_UNKNOWN_DELAY: Duration = Duration::from_secs(5);
/// How often it is handed back for that. Counted, not timed since its submit: a task that has waited in a long queue, or was
/// delayed, may meet an old worker only now. And counted apart: one that could not run alone may have been handed back more
/// often than that before.
const SCHEMA_UNKNOWN_BACKS_MAX: u32 = (SCHEMA_UNKNOWN_MS_MAX as u64 / SCHEMA_UNKNOWN_DELAY.as_millis() as u64) as u32;

/// How long an attempt may take.
struct Time {
    length: Duration,
    /// Whether it is the task's deadline that ends it.
    expires: bool,
}

/// What is to become of an attempt.
#[derive(Debug)]
struct Verdicted {
    ended: Ended,
    output: Output,
    failure: Option<Failure>,
    /// Wait before the next copy; `None`: the queue's backoff.
    delay: Option<Duration>,
    /// Whether it is handed back since this worker does not know its schema.
    schema_unknown: bool,
}

impl Carried<'_> {
    pub(super) async fn attempt(&self, slot: Arc<Slot>) {
        let (station, held) = (self.station, self.held);
        let started_at_ms = now_ms();
        let due_ms = held.copy.due_ms;
        let queue_wait_ms = if due_ms > 0 { started_at_ms.saturating_sub(due_ms).max(0) } else { 0 };
        let trace = span::process(station, held, queue_wait_ms);
        station.metrics.started(duration_ms(queue_wait_ms));
        self.events.running(started_at_ms).await;
        let started = Instant::now();
        let (ran, children) = self.run(&slot, trace.clone()).await;
        let took = started.elapsed();
        match self.ended_elsewhere(&ran).await {
            Ok(None) => {}
            Ok(Some(elsewhere)) => {
                station.metrics.processed(took, None);
                return self.settle_elsewhere(elsewhere, &trace).await;
            }
            Err(error) => {
                station.metrics.processed(took, None);
                self.give_up(&error).await;
                let outcome = MetricsEnded::Released.word();
                let conclusion = Conclusion { outcome, last: false, failure: None, next_attempt_at_ms: None };
                return span::conclude(&trace, conclusion);
            }
        }
        let verdicted = self.verdict(ran);
        station.metrics.processed(took, verdicted.failure.as_ref().map(|failure| failure.code.as_str()));
        let verdicted = self.placed(verdicted).await;
        self.settle(verdicted, started_at_ms, children, &trace).await;
    }

    /// How the handler ended, and every child of this run so far.
    async fn run(&self, slot: &Arc<Slot>, trace: TraceContext) -> (Ran, Vec<TaskId>) {
        let (station, held) = (self.station, self.held);
        let brought = tokio::select! {
            brought = payload::bring(station, held, self.lease) => brought,
            () = self.hold.told() => Err(Ran::Halted(None)),
        };
        let payload = match brought {
            Ok(payload) => payload,
            Err(ran) => return (ran, held.children()),
        };
        if let Some(unread) = self.unread(&payload).await {
            return (Ran::Ended(Outcome::Undecodable(unread)), held.children());
        }
        let Time { length, expires } = self.time();
        if length.is_zero() {
            return (if expires { Ran::Expired } else { Ran::TimedOut }, held.children());
        }
        let handling = Handling::new(slot, |cancelled, slot| Given {
            task_id: held.id.clone(),
            attempt: held.attempt(),
            attempts_max: held.attempts_max(),
            deadline: Instant::now() + length,
            cancelled,
            slot,
            origin: Origin::Task(held.facts()),
            reach: Reach::fleet(station),
        });
        let said = handling.context().said();
        let outside = Outside { hold: self.hold, expires };
        let ran = tokio::select! {
            ran = handling.run(station, payload, trace, Some(outside)) => ran,
            never = self.events.follow(said.clone()) => match never {},
        };
        let children = said.borrow().children.clone();
        (ran, children)
    }

    /// How long the handler may run: for the attempt's timeout, and not beyond the task's deadline.
    fn time(&self) -> Time {
        let timeout = match duration_ms(self.held.envelope.timeout_ms) {
            Duration::ZERO => duration_ms(self.station.settings.timeout_ms),
            timeout => timeout,
        };
        let left = self.held.envelope.deadline_ms.map(|deadline_ms| duration_ms(deadline_ms.saturating_sub(now_ms())));
        match left {
            Some(left) if left <= timeout => Time { length: left, expires: true },
            _ => Time { length: timeout, expires: false },
        }
    }

    fn verdict(&self, ran: Ran) -> Verdicted {
        let failed = |ended, code: &str, message: String| {
            let message = cut(&message, FAILURE_MESSAGE_BYTES_MAX).to_owned();
            Verdicted { failure: Some(Failure { code: code.to_owned(), message }), ..Verdicted::new(ended) }
        };
        match ran {
            Ran::Ended(Outcome::Completed(output)) if output.len() as u64 > self.station.payload_bytes_max() => {
                let bytes_max = self.station.payload_bytes_max();
                let message =
                    format!("the output has {} bytes, and {bytes_max} is the limit of this queue", output.len());
                failed(Ended::Permanent, code::OUTPUT_TOO_LARGE, message)
            }
            Ran::Ended(Outcome::Completed(output)) => {
                Verdicted { output: Output::Inline(output), ..Verdicted::new(Ended::Completed) }
            }
            Ran::Ended(Outcome::Failed(error)) => {
                let ended = if error.is_permanent() { Ended::Permanent } else { Ended::Retryable };
                Verdicted { failure: Some(error.failure()), delay: error.delay(), ..Verdicted::new(ended) }
            }
            Ran::Ended(Outcome::Undecodable(_)) if self.may_be_newer() => {
                let delay = Some(SCHEMA_UNKNOWN_DELAY);
                Verdicted { delay, schema_unknown: true, ..Verdicted::new(Ended::HandedBack) }
            }
            Ran::Ended(Outcome::Undecodable(reason)) => {
                failed(Ended::Permanent, code::UNDECODABLE, self.why_unread(reason))
            }
            Ran::Panicked(message) => failed(Ended::Retryable, code::PANIC, message),
            Ran::TimedOut => {
                failed(Ended::Retryable, code::TIMEOUT, "the attempt took longer than its timeout".to_owned())
            }
            Ran::Expired => failed(Ended::Expired, code::EXPIRED, "its deadline passed while it ran".to_owned()),
            // It was not halted after all.
            Ran::Halted(Some(outcome)) => self.verdict(Ran::Ended(outcome)),
            Ran::Cut | Ran::Halted(None) => {
                Verdicted { delay: Some(Duration::ZERO), ..Verdicted::new(Ended::HandedBack) }
            }
        }
    }

    /// Whether a worker that can read the payload may be on its way, as in a rolling deploy.
    fn may_be_newer(&self) -> bool {
        self.is_foreign() && self.held.copy.schema_backs < SCHEMA_UNKNOWN_BACKS_MAX
    }

    /// The same with a large output in the store, or a failure where the store does not take it.
    async fn placed(&self, verdicted: Verdicted) -> Verdicted {
        let Output::Inline(output) = verdicted.output else { return verdicted };
        match output::place(self.station, self.held, output).await {
            Ok(output) => Verdicted { output, ..verdicted },
            Err(NotStored::Cut) => self.verdict(Ran::Cut),
            Err(NotStored::Refused(error)) => {
                let message = format!("the output is not stored: {error}");
                self.verdict(Ran::Ended(Outcome::Failed(TaskError::retryable(code::OUTPUT_NOT_STORED, message))))
            }
        }
    }

    /// The same, or a failure where the record of the output does not fit a message: it never will.
    fn fitting(&self, verdicted: Verdicted, ran: &records::Ran<'_>) -> Verdicted {
        let bytes_max = self.station.broker.client.max_payload().saturating_sub(RECORD_HEADERS_BYTES_MAX);
        let bytes = match verdicted.ended {
            Ended::Completed => ran.completed(verdicted.output.clone(), &self.station.schema).encoded_len(),
            _ => 0,
        };
        if bytes <= bytes_max {
            return verdicted;
        }
        if let Output::Stored(blob) = &verdicted.output {
            self.station.discarder.discard_named(&self.station.queue, blob);
        }
        let message = format!("the record of the output has {bytes} bytes, at most {bytes_max} fit a message");
        let failure = Some(Failure { code: code::OUTPUT_TOO_LARGE.to_owned(), message });
        Verdicted { failure, ..Verdicted::new(Ended::Permanent) }
    }

    async fn settle(&self, verdicted: Verdicted, started_at_ms: i64, children: Vec<TaskId>, trace: &TraceContext) {
        let (station, held) = (self.station, self.held);
        let ran = records::Ran { started_at_ms: Some(started_at_ms), children, ..self.records() };
        let Verdicted { ended, output, failure, delay, schema_unknown } = self.fitting(verdicted, &ran);
        let names = &station.broker.names;
        let why = failure.clone().unwrap_or_default();
        let policy = held.envelope.backoff.unwrap_or_default();
        let delay = delay
            .unwrap_or_else(|| backoff::delay(&policy, held.attempt(), rand::random()))
            .min(duration_ms(settings::retry_delay_ms_max(&station.settings)));
        let delay = ran.before_deadline(delay);
        let plan = plan(held.attempt(), held.attempts_max(), self.lease.state(), ended);
        let papers = match plan {
            Plan::Complete => Papers::Result(Box::new(ran.completed(output, &station.schema))),
            Plan::Fail => Papers::Result(Box::new(ran.failed(why))),
            Plan::Expire => Papers::Result(Box::new(ran.expired())),
            Plan::Retry => Papers::Copy(ran.retry(names, &why, delay)),
            Plan::HandBack if schema_unknown => Papers::Copy(ran.hand_back_unknown(names, delay)),
            Plan::HandBack => Papers::Copy(ran.hand_back(names, delay)),
            Plan::FinishDeadLetter | Plan::Drop | Plan::Leave => Papers::None,
        };
        let settled = station.settler.settle(held, self.lease, plan, papers, trace).await;
        let next_attempt_at_ms = ran.ended_at_ms.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        let retried = plan == Plan::Retry && settled == Settled::Done;
        if let (true, Some(failure)) = (retried, &failure) {
            self.events.retrying(next_attempt_at_ms, failure.clone(), &ran.children).await;
        }
        self.conclude(plan, settled, failure.as_ref(), retried.then_some(next_attempt_at_ms), trace);
    }

    fn conclude(
        &self,
        plan: Plan,
        settled: Settled,
        failure: Option<&Failure>,
        next_attempt_at_ms: Option<i64>,
        trace: &TraceContext,
    ) {
        let ended = MetricsEnded::of(plan, settled);
        let last = ended.is_last();
        self.station.metrics.settled(ended.word());
        if let Some(failure) = failure {
            self.station.metrics.failed(&failure.code, last);
            // So that the line carries the trace's id.
            let _trace = trace.clone().attach();
            tracing::info!(
                workfleet.task.id = %self.held.id, attempt = self.held.attempt(), outcome = ended.word(),
                code = failure.code, reason = failure.message, "an attempt failed"
            );
        }
        if last {
            let took_ms = now_ms().saturating_sub(self.held.envelope.submitted_at_ms);
            self.station.metrics.ended(duration_ms(took_ms));
        }
        span::conclude(trace, Conclusion { outcome: ended.word(), last, failure, next_attempt_at_ms });
    }
}

impl Verdicted {
    fn new(ended: Ended) -> Self {
        Self { ended, output: Output::none(), failure: None, delay: None, schema_unknown: false }
    }
}
