//! What is counted and timed. No task id ever becomes a label.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use workfleet_link::telemetry::attribute;
use workfleet_proto::id::QueueName;
use workfleet_proto::settlement::Plan;
use workfleet_proto::v1::State;

use crate::settle::Settled;
use crate::slots::Slots;

/// The conventions' buckets end at 10 s; tasks may take an hour.
const SECONDS: [f64; 18] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0, 3_600.0];

/// Which way a blob's bytes went.
const BLOB_DIRECTION: &str = "workfleet.blob.direction";

/// The instruments of one worker process.
#[derive(Debug)]
pub(crate) struct Metrics {
    base: [KeyValue; 2],
    process: Histogram<f64>,
    consumed: Counter<u64>,
    in_flight: UpDownCounter<i64>,
    attempts: Counter<u64>,
    wait: Histogram<f64>,
    end_to_end: Histogram<f64>,
    failures: Counter<u64>,
    calls: Counter<u64>,
    rebuilds: Counter<u64>,
    blob_bytes: Counter<u64>,
    blob_failures: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(queue: &QueueName, slots: &Slots) -> Self {
        let meter = global::meter("workfleet");
        let base = [
            KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
            KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, queue.to_string()),
        ];
        let total = meter.i64_up_down_counter("workfleet.worker.slots").with_unit("{slot}").build();
        total.add(slots.total().into(), &base);
        let seconds =
            |name: &'static str| meter.f64_histogram(name).with_unit("s").with_boundaries(SECONDS.to_vec()).build();
        let count = |name: &'static str, unit: &'static str| meter.u64_counter(name).with_unit(unit).build();
        Self {
            process: seconds("messaging.process.duration"),
            wait: seconds("workfleet.task.wait"),
            end_to_end: seconds("workfleet.task.end_to_end"),
            consumed: count("messaging.client.consumed.messages", "{message}"),
            attempts: count("workfleet.task.attempts", "{attempt}"),
            failures: count("workfleet.task.failures", "{failure}"),
            calls: count("workfleet.calls", "{call}"),
            rebuilds: count("workfleet.pull.rebuilds", "{pull}"),
            blob_bytes: count("workfleet.blob.io", "By"),
            blob_failures: count("workfleet.blob.failures", "{failure}"),
            in_flight: meter.i64_up_down_counter("workfleet.task.in_flight").with_unit("{task}").build(),
            base,
        }
        .with_zeroes()
    }

    /// Series that alerts are about are there from the start: a counter that first shows up as 1 has, for Prometheus, not
    /// risen, and the first failure would go unseen.
    fn with_zeroes(self) -> Self {
        self.rebuilds.add(0, &self.base);
        self.in_flight.add(0, &self.base);
        for outcome in Ended::ALL {
            self.attempts.add(0, &self.with([KeyValue::new(attribute::TASK_OUTCOME, outcome.word())]));
        }
        self
    }

    fn with<const N: usize>(&self, more: [KeyValue; N]) -> Vec<KeyValue> {
        self.base.iter().cloned().chain(more).collect()
    }

    /// A message was delivered.
    pub(crate) fn consumed(&self) {
        let operation = KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "process");
        self.consumed.add(1, &self.with([operation]));
    }

    /// A handler starts, after its task has waited for so long.
    pub(crate) fn started(&self, waited: Duration) {
        self.wait.record(waited.as_secs_f64(), &self.base);
        self.in_flight.add(1, &self.base);
    }

    /// The handler ended; `error` is the code of its failure.
    pub(crate) fn processed(&self, took: Duration, error: Option<&str>) {
        self.in_flight.add(-1, &self.base);
        let mut labels = self.with([KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "process")]);
        labels.extend(error.map(|code| KeyValue::new(attribute::ERROR_TYPE, code.to_owned())));
        self.process.record(took.as_secs_f64(), &labels);
    }

    /// A delivery was settled.
    pub(crate) fn settled(&self, outcome: &'static str) {
        self.attempts.add(1, &self.with([KeyValue::new(attribute::TASK_OUTCOME, outcome)]));
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, code: &str, last: bool) {
        let code = KeyValue::new(attribute::ERROR_TYPE, code.to_owned());
        self.failures.add(1, &self.with([code, KeyValue::new(attribute::TASK_FINAL, last)]));
    }

    /// A task ended, so long after its submit.
    pub(crate) fn ended(&self, since_submit: Duration) {
        self.end_to_end.record(since_submit.as_secs_f64(), &self.base);
    }

    /// A direct call was answered.
    pub(crate) fn called(&self, outcome: &'static str) {
        self.calls.add(1, &self.with([KeyValue::new(attribute::TASK_OUTCOME, outcome)]));
    }

    /// A pull went silent and was made anew.
    pub(crate) fn rebuilt(&self) {
        self.rebuilds.add(1, &self.base);
    }
}

/// Blobs.
impl Metrics {
    /// So many bytes of blobs were fetched.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.blob_bytes.add(bytes, &self.with([KeyValue::new(BLOB_DIRECTION, "fetched")]));
    }

    /// So many bytes of blobs were stored.
    pub(crate) fn stored(&self, bytes: u64) {
        self.blob_bytes.add(bytes, &self.with([KeyValue::new(BLOB_DIRECTION, "stored")]));
    }

    /// A blob was not fetched, stored or deleted.
    pub(crate) fn blob_failed(&self, code: &str) {
        self.blob_failures.add(1, &self.with([KeyValue::new(attribute::ERROR_TYPE, code.to_owned())]));
    }
}

/// How a delivery ended, in one word, the same in metrics and spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The task is completed.
    Completed,
    /// The task failed.
    Failed,
    /// Its deadline passed.
    Expired,
    /// It was cancelled while its handler ran.
    Cancelled,
    /// It is tried again.
    Retry,
    /// Another worker takes it, its attempt not spent.
    HandedBack,
    /// There was nothing to do any more.
    Dropped,
    /// A dead letter was completed that a crash had left out.
    DeadLetter,
    /// Somebody else had recorded an end.
    Superseded,
    /// The lease had lapsed.
    Left,
    /// It could not be stored, and comes again.
    Released,
}

impl Ended {
    const ALL: [Self; 11] = [
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Retry,
        Self::HandedBack,
        Self::Dropped,
        Self::DeadLetter,
        Self::Superseded,
        Self::Left,
        Self::Released,
    ];

    pub(crate) fn of(plan: Plan, settled: Settled) -> Self {
        match (settled, plan) {
            (Settled::Superseded, _) => Self::Superseded,
            (Settled::Released, _) => Self::Released,
            (Settled::Left, _) | (_, Plan::Leave) => Self::Left,
            (Settled::Done, Plan::Complete) => Self::Completed,
            (Settled::Done, Plan::Fail) => Self::Failed,
            (Settled::Done, Plan::Expire) => Self::Expired,
            (Settled::Done, Plan::Retry) => Self::Retry,
            (Settled::Done, Plan::HandBack) => Self::HandedBack,
            (Settled::Done, Plan::FinishDeadLetter) => Self::DeadLetter,
            (Settled::Done, Plan::Drop) => Self::Dropped,
        }
    }

    /// The same for an attempt whose task had this end, recorded elsewhere, before its handler had one.
    pub(crate) fn halted(state: State, plan: Plan, settled: Settled) -> Self {
        match (Self::of(plan, settled), state) {
            (Self::Dropped, State::Cancelled) => Self::Cancelled,
            (Self::Dropped, State::Expired) => Self::Expired,
            (Self::Dropped, _) => Self::Superseded,
            (ended, _) => ended,
        }
    }

    /// Whether the task ended with it.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Expired | Self::Cancelled)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Retry => "retry",
            Self::HandedBack => "handed_back",
            Self::Dropped => "dropped",
            Self::DeadLetter => "dead_letter",
            Self::Superseded => "superseded",
            Self::Left => "left",
            Self::Released => "released",
        }
    }
}
