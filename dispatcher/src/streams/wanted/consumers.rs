//! Durable consumers beside those of the lanes.

use serde_json::json;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::{DelayPart, Names};

use super::{Config, SOURCE_HEARTBEAT_NS, object};
use crate::limits::{ALERT_ACK_WAIT, ALERTS_PENDING_MAX, EXPIRED_ACK_WAIT, EXPIRED_PENDING_MAX};

/// The consumer through which the queue takes what is due. The one that the server makes by itself lost tasks when it
/// was killed while the queue was full.
pub(super) fn source_consumer(names: &Names, queue: &QueueName) -> Config {
    object(json!({
        "durable_name": names.source_consumer(),
        "deliver_subject": names.source_deliver(queue),
        "filter_subject": names.delay_all(DelayPart::Due, queue),
        "deliver_policy": "all",
        "ack_policy": "flow_control",
        "flow_control": true,
        "idle_heartbeat": SOURCE_HEARTBEAT_NS,
    }))
}

/// Deadlines that have passed. Every dispatcher takes some; nothing is lost with one that dies.
pub(super) fn expired_consumer(names: &Names, queue: &QueueName) -> Config {
    object(json!({
        "durable_name": names.expired_consumer(),
        "filter_subject": names.delay_all(DelayPart::Expired, queue),
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": i64::try_from(EXPIRED_ACK_WAIT.as_nanos()).unwrap_or(i64::MAX),
        "max_deliver": -1,
        "max_ack_pending": EXPIRED_PENDING_MAX,
    }))
}

/// Dead letters to tell of, from the moment on in which somebody wants to be told: not of all that lie there already. Every
/// dispatcher takes some.
pub(super) fn alert_consumer(names: &Names, queue: &QueueName) -> Config {
    object(json!({
        "durable_name": names.alert_consumer(),
        "filter_subject": names.dead_all(queue),
        "deliver_policy": "new",
        "ack_policy": "explicit",
        "ack_wait": i64::try_from(ALERT_ACK_WAIT.as_nanos()).unwrap_or(i64::MAX),
        "max_deliver": -1,
        "max_ack_pending": ALERTS_PENDING_MAX,
    }))
}
