//! The keys of a queue.

use toml::Value;
use workfleet_proto::v1::{Backoff, DeadAlert, QueueSettings};

/// Keys that name a queue's kind.
pub(super) const KIND_KEYS: [&str; 3] = ["proto", "descriptors", "service"];

/// How many dead letters are told of in a minute, where the file does not say.
const DEAD_ALERTS_PER_MINUTE: u32 = 10;

const KEYS: &str = "attempts_max, backoff_base, backoff_max, lease, timeout, retention, tasks_max, tasks_bytes_max, \
                    scheduled_max, scheduled_bytes_max, results_bytes_max, running_max, replicas, lanes, payload_bytes_max, \
                    blobs_bytes_max, blobs_age, uploads_age, children, ledger, accepted_bytes_max, cancel_grace, \
                    dead_bytes_max, deadlines_max, dead_alert";

/// Sets what `key` stands for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn set(settings: &mut QueueSettings, key: &str, value: &Value) -> Result<(), String> {
    let backoff = settings.backoff.get_or_insert_with(Backoff::default);
    match key {
        "attempts_max" => settings.attempts_max = number(value)?,
        "backoff_base" => backoff.base_ms = duration_ms(value)?,
        "backoff_max" => backoff.max_ms = duration_ms(value)?,
        "lease" => settings.lease_ms = duration_ms(value)?,
        "timeout" => settings.timeout_ms = duration_ms(value)?,
        "retention" => settings.retention_ms = duration_ms(value)?,
        "tasks_max" => settings.tasks_max = number(value)?,
        "tasks_bytes_max" => settings.tasks_bytes_max = number(value)?,
        "scheduled_max" => settings.scheduled_max = number(value)?,
        "scheduled_bytes_max" => settings.scheduled_bytes_max = number(value)?,
        "results_bytes_max" => settings.results_bytes_max = number(value)?,
        "running_max" => settings.running_max = number(value)?,
        "replicas" => settings.replicas = number(value)?,
        "payload_bytes_max" => settings.payload_bytes_max = number(value)?,
        "blobs_bytes_max" => settings.blobs_bytes_max = number(value)?,
        "blobs_age" => settings.blobs_age_ms = duration_ms(value)?,
        "uploads_age" => settings.uploads_age_ms = duration_ms(value)?,
        "children" => settings.children = texts(value)?,
        "ledger" => settings.ledger = value.as_bool().ok_or_else(|| "neither true nor false".to_owned())?,
        "accepted_bytes_max" => settings.accepted_bytes_max = number(value)?,
        "cancel_grace" => settings.cancel_grace_ms = duration_ms(value)?,
        "dead_bytes_max" => settings.dead_bytes_max = number(value)?,
        "deadlines_max" => settings.deadlines_max = number(value)?,
        "dead_alert" => settings.dead_alert = Some(dead_alert(value)?),
        "lanes" => settings.lanes = texts(value)?,
        _ => return Err(format!("unknown; the keys of a queue are proto, descriptors, service, {KEYS}")),
    }
    Ok(())
}

fn dead_alert(value: &Value) -> Result<DeadAlert, String> {
    let table = value
        .as_table()
        .ok_or_else(|| "not a table; write { queue = \"webhook\", url = \"https://...\" }".to_owned())?;
    let mut alert = DeadAlert { per_minute: DEAD_ALERTS_PER_MINUTE, ..DeadAlert::default() };
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned).ok_or_else(|| "not a text".to_owned());
    for (key, value) in table {
        match key.as_str() {
            "queue" => alert.queue = text(value)?,
            "url" => alert.url = text(value)?,
            "per_minute" => alert.per_minute = number(value)?,
            _ => return Err(format!("{key}: unknown; its keys are queue, url, per_minute")),
        }
    }
    Ok(alert)
}

fn number<N: TryFrom<i64>>(value: &Value) -> Result<N, String> {
    let number = value.as_integer().ok_or_else(|| "not a whole number".to_owned())?;
    N::try_from(number).map_err(|_| format!("{number} is too small or too large"))
}

fn duration_ms(value: &Value) -> Result<i64, String> {
    let wrong = "not a duration; write \"1500ms\", \"10s\" or \"5m\"";
    let text = value.as_str().ok_or_else(|| wrong.to_owned())?;
    let duration = humantime::parse_duration(text).map_err(|_| wrong.to_owned())?;
    i64::try_from(duration.as_millis()).map_err(|_| wrong.to_owned())
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let texts = value.as_array().and_then(|values| values.iter().map(|v| v.as_str().map(ToOwned::to_owned)).collect());
    texts.ok_or_else(|| "not a list of texts".to_owned())
}
