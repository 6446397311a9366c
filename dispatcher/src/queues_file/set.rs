//! The keys of a queue.

use toml::Value;
use workfleet_proto::v1::{Backoff, QueueSettings};

/// Keys that name a queue's kind.
pub(super) const KIND_KEYS: [&str; 3] = ["proto", "descriptors", "service"];

const KEYS: &str = "attempts_max, backoff_base, backoff_max, lease, timeout, retention, tasks_max, tasks_bytes_max, \
                    scheduled_max, scheduled_bytes_max, results_bytes_max, running_max, replicas, lanes, payload_bytes_max, \
                    blobs_bytes_max, blobs_age, uploads_age, children";

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
        "lanes" => settings.lanes = texts(value)?,
        _ => return Err(format!("unknown; the keys of a queue are proto, descriptors, service, {KEYS}")),
    }
    Ok(())
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
