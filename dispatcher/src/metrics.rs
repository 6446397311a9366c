//! What the dispatcher counts. No task id ever becomes a label.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};
use workfleet_link::telemetry::attribute;
use workfleet_proto::id::QueueName;

use crate::bounds::Bound;
use crate::error::{ApiError, Code};
use crate::sweep::Swept;
use crate::view::QueueView;

/// The conventions' buckets, and beyond 10 s those of a request that waits for its task.
const DURATION_BUCKETS_S: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0];

/// How full an object store is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
}

/// The instruments.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Histogram<f64>,
    publish: Histogram<f64>,
    sent: Counter<u64>,
    rejected: Counter<u64>,
    waiting: Gauge<u64>,
    running: Gauge<u64>,
    due: Gauge<u64>,
    scheduled: Gauge<u64>,
    dead: Gauge<u64>,
    workers: Gauge<u64>,
    oldest_age: Gauge<f64>,
    used: Gauge<u64>,
    limit: Gauge<u64>,
    places_used: Gauge<u64>,
    places_limit: Gauge<u64>,
    operations_bytes: Gauge<u64>,
    operations_bytes_max: Gauge<u64>,
    connected: Gauge<u64>,
    carried: Counter<u64>,
    deadlines: Counter<u64>,
    callers_refused: Counter<u64>,
    auth_stale: Gauge<u64>,
    blobs_refused: Counter<u64>,
    blobs_swept: Counter<u64>,
    blobs: Gauge<u64>,
    blobs_bytes: Gauge<u64>,
    blobs_bytes_max: Gauge<u64>,
}

impl Metrics {
    /// Instruments on the process's meter provider, which must be set up by then.
    pub(crate) fn new() -> Self {
        let meter = global::meter("workfleet");
        Self {
            requests: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_boundaries(DURATION_BUCKETS_S.to_vec())
                .build(),
            publish: meter
                .f64_histogram("messaging.client.operation.duration")
                .with_unit("s")
                .with_boundaries(DURATION_BUCKETS_S.to_vec())
                .build(),
            sent: meter.u64_counter("messaging.client.sent.messages").with_unit("{message}").build(),
            rejected: meter.u64_counter("workfleet.task.rejected").with_unit("{task}").build(),
            waiting: meter.u64_gauge("workfleet.queue.waiting").with_unit("{task}").build(),
            running: meter.u64_gauge("workfleet.queue.running").with_unit("{task}").build(),
            due: meter.u64_gauge("workfleet.queue.due").with_unit("{task}").build(),
            scheduled: meter.u64_gauge("workfleet.queue.scheduled").with_unit("{task}").build(),
            dead: meter.u64_gauge("workfleet.queue.dead").with_unit("{task}").build(),
            workers: meter.u64_gauge("workfleet.queue.workers").with_unit("{worker}").build(),
            oldest_age: meter.f64_gauge("workfleet.queue.oldest_age").with_unit("s").build(),
            used: meter.u64_gauge("workfleet.queue.used").build(),
            limit: meter.u64_gauge("workfleet.queue.limit").build(),
            places_used: meter.u64_gauge("workfleet.dispatcher.used").build(),
            places_limit: meter.u64_gauge("workfleet.dispatcher.limit").build(),
            operations_bytes: meter.u64_gauge("workfleet.operation.stored_size").with_unit("By").build(),
            operations_bytes_max: meter.u64_gauge("workfleet.operation.stored_size_max").with_unit("By").build(),
            callers_refused: meter.u64_counter("workfleet.auth.rejected").with_unit("{request}").build(),
            auth_stale: meter.u64_gauge("workfleet.auth.file_stale").build(),
            blobs_refused: meter.u64_counter("workfleet.blob.rejected").with_unit("{blob}").build(),
            blobs_swept: meter.u64_counter("workfleet.blob.swept").with_unit("{blob}").build(),
            blobs: meter.u64_gauge("workfleet.blob.stored").with_unit("{blob}").build(),
            blobs_bytes: meter.u64_gauge("workfleet.blob.stored_size").with_unit("By").build(),
            blobs_bytes_max: meter.u64_gauge("workfleet.blob.stored_size_max").with_unit("By").build(),
            carried: meter.u64_counter("workfleet.due.carried").with_unit("{task}").build(),
            deadlines: meter.u64_counter("workfleet.deadline.passed").with_unit("{task}").build(),
            connected: meter.u64_gauge("workfleet.broker.connected").build(),
        }
    }

    /// A submit that was admitted, and what came of it.
    pub(crate) fn submitted(&self, queue: &QueueName, took: Duration, error: Option<&ApiError>) {
        let mut attributes = vec![
            KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
            KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "publish"),
            KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, queue.to_string()),
        ];
        if let Some(error) = error {
            attributes.push(KeyValue::new(attribute::ERROR_TYPE, error.code.name()));
            self.rejected
                .add(1, &[KeyValue::new("queue", queue.to_string()), KeyValue::new("reason", error.code.name())]);
        }
        self.sent.add(1, &attributes);
        attributes.push(KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, "send"));
        self.publish.record(took.as_secs_f64(), &attributes);
    }

    /// A queue as it is now. The age of the oldest waiting task is the number to be woken by.
    pub(crate) fn queue(&self, view: &QueueView) {
        let attributes = [KeyValue::new("queue", view.name.clone())];
        let oldest = Duration::from_millis(u64::try_from(view.oldest_waiting_ms.unwrap_or(0)).unwrap_or(0));
        self.waiting.record(view.waiting, &attributes);
        self.running.record(view.running, &attributes);
        self.due.record(view.due, &attributes);
        self.scheduled.record(view.scheduled, &attributes);
        self.dead.record(view.dead, &attributes);
        self.workers.record(view.workers.len() as u64, &attributes);
        self.oldest_age.record(oldest.as_secs_f64(), &attributes);
    }

    /// A task that was due, and what came of carrying it into its queue.
    pub(crate) fn due_carried(&self, queue: &QueueName, outcome: &'static str) {
        self.carried.add(1, &[KeyValue::new("queue", queue.to_string()), KeyValue::new("outcome", outcome)]);
    }

    /// A deadline that has passed, and what came of it.
    pub(crate) fn deadline_passed(&self, queue: &QueueName, outcome: &'static str) {
        self.deadlines.add(1, &[KeyValue::new("queue", queue.to_string()), KeyValue::new("outcome", outcome)]);
    }

    /// A request that was refused for who sent it.
    pub(crate) fn caller_refused(&self, reason: &'static str) {
        self.callers_refused.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Whether a file of tokens or keys could not be read when it was last looked at.
    pub(crate) fn auth_file(&self, file: &'static str, stale: bool) {
        self.auth_stale.record(u64::from(stale), &[KeyValue::new("file", file)]);
    }

    /// An upload that was refused. The queue is a label where there is one: what is unknown is a stranger's text.
    pub(crate) fn blob_refused(&self, queue: &str, error: &ApiError) {
        let queue = if error.code == Code::UnknownQueue { "" } else { queue };
        self.blobs_refused
            .add(1, &[KeyValue::new("queue", queue.to_owned()), KeyValue::new("reason", error.code.name())]);
    }

    /// What a sweep removed.
    pub(crate) fn swept(&self, swept: &Swept) {
        let kinds = [
            ("input", swept.inputs),
            ("output", swept.outputs),
            ("upload", swept.uploads),
            ("unfinished", swept.unfinished),
        ];
        for (what, count) in kinds {
            self.blobs_swept.add(count, &[KeyValue::new("queue", swept.queue.clone()), KeyValue::new("what", what)]);
        }
    }

    /// What an object store holds.
    pub(crate) fn object_store(&self, queue: &QueueName, store: &'static str, fill: Fill) {
        let attributes = [KeyValue::new("queue", queue.to_string()), KeyValue::new("store", store)];
        self.blobs.record(fill.blobs, &attributes);
        self.blobs_bytes.record(fill.bytes, &attributes);
        self.blobs_bytes_max.record(fill.bytes_max, &attributes);
    }

    /// How much of a queue's bounds is used. Two series for each: what is compared is in one unit, tasks or bytes.
    pub(crate) fn bounds(&self, queue: &QueueName, bounds: &[Bound]) {
        for bound in bounds {
            let attributes = [KeyValue::new("queue", queue.to_string()), KeyValue::new("limit", bound.limit)];
            self.used.record(bound.used, &attributes);
            self.limit.record(bound.max, &attributes);
        }
    }

    /// How much of this process's own bounds is used.
    pub(crate) fn places(&self, places: &[Bound]) {
        for place in places {
            let attributes = [KeyValue::new("limit", place.limit)];
            self.places_used.record(place.used, &attributes);
            self.places_limit.record(place.max, &attributes);
        }
    }

    /// How full the operators' log is; its oldest entries go.
    pub(crate) fn operations(&self, bytes: u64, bytes_max: u64) {
        self.operations_bytes.record(bytes, &[]);
        self.operations_bytes_max.record(bytes_max, &[]);
    }

    /// Whether the numbers of the queues are those of now.
    pub(crate) fn broker(&self, connected: bool) {
        self.connected.record(u64::from(connected), &[]);
    }

    /// A request that was answered. `route` is a pattern, never a path.
    pub(crate) fn answered(&self, method: &'static str, route: String, status: u16, took: Duration) {
        let attributes = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        self.requests.record(took.as_secs_f64(), &attributes);
    }
}
