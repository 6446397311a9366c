//! Durable consumers beside those of the lanes.

use std::time::Duration;

use serde_json::json;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::{DelayPart, Names};

use super::{Config, object};
use crate::limits::{
    ALERT_ACK_WAIT, ALERTS_PENDING_MAX, DUE_ACK_WAIT, DUE_PENDING_MAX, EXPIRED_ACK_WAIT, EXPIRED_PENDING_MAX,
};

/// Tasks that are due, to be carried into their queue. Every dispatcher takes some; nothing is lost with one that dies.
pub(super) fn due_consumer(names: &Names, queue: &QueueName) -> Config {
    fired(names.due_consumer(), &names.delay_all(DelayPart::Due, queue), DUE_ACK_WAIT, DUE_PENDING_MAX)
}

/// Deadlines that have passed. Every dispatcher takes some; nothing is lost with one that dies.
pub(super) fn expired_consumer(names: &Names, queue: &QueueName) -> Config {
    let filter = names.delay_all(DelayPart::Expired, queue);
    fired(names.expired_consumer(), &filter, EXPIRED_ACK_WAIT, EXPIRED_PENDING_MAX)
}

/// What the server's scheduler has fired.
fn fired(consumer: &str, filter: &str, ack_wait: Duration, pending_max: u32) -> Config {
    object(json!({
        "durable_name": consumer,
        "filter_subject": filter,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": i64::try_from(ack_wait.as_nanos()).unwrap_or(i64::MAX),
        "max_deliver": -1,
        "max_ack_pending": pending_max,
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
