//! What a fleet and a queue need, as JetStream's own JSON. Pure; docs/protocol.md has the same as a table.

mod consumers;

use serde_json::{Map, Value, json};
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;
use workfleet_proto::limits::{DEAD_MS_MAX, DESCRIPTORS_BYTES_MAX};
use workfleet_proto::names::{DelayPart, Names};
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

use crate::limits::PULLS_WAITING_MAX;
use consumers::{alert_consumer, due_consumer, expired_consumer};

const SECOND_NS: i64 = 1_000_000_000;
/// For two minutes a repeated publish is recognised by its id; beyond, compare-and-set does it.
pub(super) const DUPLICATE_WINDOW_NS: i64 = 120 * SECOND_NS;
/// A worker that has not said for so long that it lives is gone.
const WORKERS_AGE_NS: i64 = 10 * SECOND_NS;
/// Events are for those who are watching.
const EVENTS_AGE_NS: i64 = 600 * SECOND_NS;
const EVENTS_BYTES_MAX: i64 = 64 << 20;
const DEAD_AGE_NS: i64 = DEAD_MS_MAX * 1_000_000;
/// What a handler stores itself is there before its attempt ends, and that may take seven days.
const OUTPUTS_MARGIN_MS: i64 = 8 * 24 * 3_600 * 1_000;
/// What operators did is for the next quarter of a year.
const OPERATIONS_AGE_NS: i64 = 90 * 24 * 3_600 * SECOND_NS;
const OPERATIONS_BYTES_MAX: i64 = 64 << 20;
/// A bucket holds records of queues and kinds, and is nowhere near this.
const BUCKET_BYTES_MAX: i64 = 256 << 20;
/// Largest message of `KINDS`: a contract, and the headers of its publish. Every worker may write to the shared buckets, and
/// so it takes many writes to fill one.
const KIND_BYTES_MAX: usize = DESCRIPTORS_BYTES_MAX + 4 * 1024;
/// Largest message of `WORKERS`.
const WORKER_BYTES_MAX: usize = 4 * 1024;
/// Largest message of `QUEUES`.
const SETTINGS_BYTES_MAX: usize = 64 * 1024;

type Config = Map<String, Value>;

/// Something to create, in this order.
pub(super) enum Step {
    Stream(Config),
    Consumer { stream: String, config: Config },
}

/// Streams and buckets that all queues share.
pub(super) fn shared(names: &Names, replicas: u32) -> Vec<Config> {
    vec![
        operations_stream(names, replicas),
        bucket(&names.kinds_bucket(), 0, Some(KIND_BYTES_MAX), replicas),
        bucket(&names.queues_bucket(), 0, Some(SETTINGS_BYTES_MAX), replicas),
        bucket(&names.workers_bucket(), WORKERS_AGE_NS, Some(WORKER_BYTES_MAX), replicas),
        bucket(&names.flows_bucket(), 0, None, replicas),
    ]
}

/// What operators did, to all queues.
fn operations_stream(names: &Names, replicas: u32) -> Config {
    object(json!({
        "name": names.operations_stream(),
        "subjects": [names.operation_everywhere()],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": OPERATIONS_BYTES_MAX,
        "max_age": OPERATIONS_AGE_NS,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": true,
        "num_replicas": replicas,
    }))
}

/// Everything of one queue.
pub(super) fn queue(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Vec<Step> {
    let delay = names.delay_stream(queue);
    let tasks = names.tasks_stream(queue);
    let mut steps = vec![
        Step::Stream(delay_stream(names, queue, settings)),
        Step::Consumer { stream: delay.clone(), config: due_consumer(names, queue) },
        Step::Consumer { stream: delay, config: expired_consumer(names, queue) },
        Step::Stream(tasks_stream(names, queue, settings)),
        Step::Stream(results_stream(names, queue, settings)),
        Step::Stream(events_stream(names, queue, settings)),
        Step::Stream(dead_stream(names, queue, settings)),
        Step::Stream(object_store(&names.object_store(Store::In, queue), settings.blobs_age_ms, settings)),
        Step::Stream(object_store(&names.object_store(Store::Out, queue), outputs_age_ms(settings), settings)),
    ];
    if settings.ledger {
        steps.push(Step::Stream(accepted_stream(names, queue, settings)));
    }
    if settings.dead_alert.is_some() {
        steps.push(Step::Consumer { stream: names.dead_stream(queue), config: alert_consumer(names, queue) });
    }
    for lane in settings::lanes(settings) {
        let config = object(json!({
            "durable_name": names.work_consumer(lane),
            "filter_subject": names.task_lane(queue, lane),
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": settings.lease_ms * 1_000_000,
            // The worker counts attempts and dead-letters; the server must never drop one silently.
            "max_deliver": -1,
            "max_ack_pending": settings.running_max,
            "max_waiting": PULLS_WAITING_MAX,
        }));
        steps.push(Step::Consumer { stream: tasks.clone(), config });
    }
    steps
}

/// Refuses what is too much. Neither message TTLs nor schedules: either would let a task vanish.
fn tasks_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    object(json!({
        "name": names.tasks_stream(queue),
        "subjects": [names.task_all(queue)],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_msgs": settings.tasks_max,
        "max_bytes": settings.tasks_bytes_max,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_atomic": true,
        // Pages of a list are read in batches, from any replica.
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

/// Schedules. It stands alone, since whoever may publish to a stream with schedules can wipe it.
fn delay_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    let subjects: Vec<String> = DelayPart::ALL.iter().map(|part| names.delay_all(*part, queue)).collect();
    object(json!({
        "name": names.delay_stream(queue),
        "subjects": subjects,
        "retention": "workqueue",
        "storage": "file",
        "discard": "old",
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_msg_schedules": true,
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

fn results_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    object(json!({
        "name": names.results_stream(queue),
        "subjects": [names.result_all(queue), names.key_all(queue)],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": settings.results_bytes_max,
        "max_age": settings.retention_ms * 1_000_000,
        "max_msgs_per_subject": 1,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_atomic": true,
        "allow_direct": true,
        "num_replicas": settings.replicas,
        "republish": { "src": names.result_all(queue), "dest": names.done_transform(queue) },
    }))
}

/// In memory: what is said about a running task is worth nothing once that attempt is over, and there is a lot of it.
pub(super) fn events_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    object(json!({
        "name": names.events_stream(queue),
        "subjects": [names.event_all(queue)],
        "retention": "limits",
        "storage": "memory",
        "discard": "old",
        "max_bytes": EVENTS_BYTES_MAX,
        "max_age": EVENTS_AGE_NS,
        "max_msgs_per_subject": 1,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

/// One for each queue: in a shared one, a queue whose tasks all fail would push out the letters of the others.
pub(super) fn dead_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    object(json!({
        "name": names.dead_stream(queue),
        "subjects": [names.dead_all(queue)],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": settings.dead_bytes_max,
        "max_age": DEAD_AGE_NS,
        "max_msgs_per_subject": 1,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

/// The ledger. It drops its oldest, so that it can hold up no submit by being full; and it keeps an entry for twice as long
/// as a result, since a task may have waited before it ended.
fn accepted_stream(names: &Names, queue: &QueueName, settings: &QueueSettings) -> Config {
    object(json!({
        "name": names.accepted_stream(queue),
        "subjects": [names.accepted_all(queue)],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": settings.accepted_bytes_max,
        "max_age": settings.retention_ms.saturating_mul(2 * 1_000_000),
        "max_msgs_per_subject": 1,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

/// An output outlives its result by a little, so that no result points at nothing.
fn outputs_age_ms(settings: &QueueSettings) -> i64 {
    settings.retention_ms + OUTPUTS_MARGIN_MS
}

/// An object store is a stream of this form, so that the broker's own tools know it. It refuses what is too much, since
/// what is in there is somebody's.
fn object_store(name: &str, age_ms: i64, settings: &QueueSettings) -> Config {
    object(json!({
        "name": format!("OBJ_{name}"),
        "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": settings.blobs_bytes_max,
        "max_age": age_ms * 1_000_000,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_rollup_hdrs": true,
        "allow_direct": true,
        "num_replicas": settings.replicas,
    }))
}

/// A key-value bucket is a stream of this form.
fn bucket(name: &str, age_ns: i64, message_bytes_max: Option<usize>, replicas: u32) -> Config {
    let window_ns = if age_ns == 0 { DUPLICATE_WINDOW_NS } else { DUPLICATE_WINDOW_NS.min(age_ns) };
    object(json!({
        "name": format!("KV_{name}"),
        "subjects": [format!("$KV.{name}.>")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": BUCKET_BYTES_MAX,
        "max_msg_size": message_bytes_max.map_or(json!(-1), |bytes| json!(bytes)),
        "max_age": age_ns,
        "max_msgs_per_subject": 1,
        "duplicate_window": window_ns,
        // All queues share it, and with roll-ups whoever may write one key may wipe the others.
        "allow_rollup_hdrs": false,
        "deny_delete": true,
        "allow_direct": true,
        "num_replicas": replicas,
    }))
}

fn object(value: Value) -> Config {
    match value {
        Value::Object(config) => config,
        _ => Config::new(),
    }
}
