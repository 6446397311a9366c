//! What is set per queue: defaults, bounds, and the relations between them.

use crate::id::QueueName;
use crate::limits::{DEAD_MS_MAX, LARGE_WAIT_MS_MAX};
use crate::names::Lane;
use crate::v1;

const DAY_MS: i64 = 24 * 3_600_000;

/// The settings of a queue that names none.
#[must_use]
pub fn defaults(queue: &QueueName) -> v1::QueueSettings {
    v1::QueueSettings {
        queue: queue.to_string(),
        lanes: vec![Lane::DEFAULT.to_string()],
        attempts_max: 5,
        backoff: Some(v1::Backoff { base_ms: 1_000, max_ms: 60_000 }),
        lease_ms: 8_000,
        timeout_ms: 300_000,
        retention_ms: DAY_MS,
        tasks_max: 1_000_000,
        tasks_bytes_max: 1 << 30,
        scheduled_max: 1_000_000,
        scheduled_bytes_max: 1 << 30,
        results_bytes_max: 1 << 30,
        running_max: 100_000,
        replicas: 1,
        payload_bytes_max: 64 << 20,
        blobs_bytes_max: 1 << 30,
        blobs_age_ms: 60 * DAY_MS,
        uploads_age_ms: 7 * DAY_MS,
        children: Vec::new(),
        ledger: false,
        accepted_bytes_max: 256 << 20,
        cancel_grace_ms: 5_000,
        dead_bytes_max: 256 << 20,
        deadlines_max: 1_000_000,
        dead_alert: None,
    }
}

/// Settings as an earlier version wrote them, with the defaults of what it did not know.
#[must_use]
pub fn completed(settings: v1::QueueSettings) -> v1::QueueSettings {
    let Ok(queue) = settings.queue.parse() else { return settings };
    let defaults = defaults(&queue);
    let or = |value: i64, default: i64| if value == 0 { default } else { value };
    v1::QueueSettings {
        scheduled_bytes_max: or(settings.scheduled_bytes_max, defaults.scheduled_bytes_max),
        payload_bytes_max: or(settings.payload_bytes_max, defaults.payload_bytes_max),
        blobs_bytes_max: or(settings.blobs_bytes_max, defaults.blobs_bytes_max),
        blobs_age_ms: or(settings.blobs_age_ms, defaults.blobs_age_ms),
        uploads_age_ms: or(settings.uploads_age_ms, defaults.uploads_age_ms),
        accepted_bytes_max: or(settings.accepted_bytes_max, defaults.accepted_bytes_max),
        cancel_grace_ms: or(settings.cancel_grace_ms, defaults.cancel_grace_ms),
        dead_bytes_max: or(settings.dead_bytes_max, defaults.dead_bytes_max),
        deadlines_max: or(settings.deadlines_max, defaults.deadlines_max),
        ..settings
    }
}

/// Every mistake in `settings`, in words that say what to change; empty when there is none.
#[must_use]
pub fn mistakes(settings: &v1::QueueSettings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut bound = |name: &str, value: i64, min: i64, max: i64| {
        if value < min || value > max {
            mistakes.push(format!("{name} is {value}, but must be from {min} to {max}"));
        }
    };
    let backoff = settings.backoff.unwrap_or_default();
    bound("attempts_max", settings.attempts_max.into(), 1, 1_000);
    bound("backoff_base_ms", backoff.base_ms, 0, DAY_MS);
    // A task that was cancelled between two attempts may leave a copy behind, and that must meet its record.
    bound("backoff_max_ms", backoff.max_ms, backoff.base_ms.max(0), retry_delay_ms_max(settings));
    bound("lease_ms", settings.lease_ms, 1_000, 600_000);
    bound("timeout_ms", settings.timeout_ms, 1, 7 * DAY_MS);
    // A result must outlive every redelivery of its task, or a late copy would find nothing and run again.
    bound("retention_ms", settings.retention_ms, 600_000.max(2 * settings.lease_ms), 365 * DAY_MS);
    bound("tasks_max", settings.tasks_max, 1, 1_000_000_000);
    bound("tasks_bytes_max", settings.tasks_bytes_max, 1 << 20, 1 << 44);
    bound("scheduled_max", settings.scheduled_max, 0, 1_000_000_000);
    bound("scheduled_bytes_max", settings.scheduled_bytes_max, 1 << 20, 1 << 44);
    bound("results_bytes_max", settings.results_bytes_max, 1 << 20, 1 << 44);
    bound("running_max", settings.running_max, 1, 10_000_000);
    bound("payload_bytes_max", settings.payload_bytes_max, 1 << 10, 1 << 30);
    bound("blobs_bytes_max", settings.blobs_bytes_max, settings.payload_bytes_max.max(1 << 20), 1 << 44);
    // The payload of a dead letter must be there for as long as the letter, and before that the task waits and runs.
    bound("blobs_age_ms", settings.blobs_age_ms, DEAD_MS_MAX + LARGE_WAIT_MS_MAX + DAY_MS, 2 * 365 * DAY_MS);
    bound("accepted_bytes_max", settings.accepted_bytes_max, 1 << 20, 1 << 44);
    bound("cancel_grace_ms", settings.cancel_grace_ms, 1, 600_000);
    bound("dead_bytes_max", settings.dead_bytes_max, 1 << 20, 1 << 44);
    bound("deadlines_max", settings.deadlines_max, 1, 1_000_000_000);
    bound("uploads_age_ms", settings.uploads_age_ms, 60_000, settings.blobs_age_ms);
    if ![1, 3, 5].contains(&settings.replicas) {
        mistakes.push(format!("replicas is {}, but must be 1, 3 or 5", settings.replicas));
    }
    mistakes.extend(lane_mistakes(settings));
    mistakes.extend(alert_mistakes(settings));
    let wrong = settings.children.iter().filter(|queue| queue.parse::<QueueName>().is_err());
    mistakes.extend(wrong.map(|queue| format!("children: {queue:?} is no queue's name")));
    mistakes
}

fn lane_mistakes(settings: &v1::QueueSettings) -> Vec<String> {
    let mut mistakes: Vec<String> = settings
        .lanes
        .iter()
        .filter(|lane| lane.parse::<Lane>().is_err())
        .map(|lane| format!("lane {lane:?} is not one letter, a-z"))
        .collect();
    if settings.lanes.is_empty() || settings.lanes.len() > crate::limits::LANES_MAX {
        mistakes.push(format!("a queue has 1 to {} lanes", crate::limits::LANES_MAX));
    }
    let mut sorted = settings.lanes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != settings.lanes.len() {
        mistakes.push("a lane is named twice".to_owned());
    }
    mistakes
}

fn alert_mistakes(settings: &v1::QueueSettings) -> Vec<String> {
    let Some(alert) = &settings.dead_alert else { return Vec::new() };
    let mut mistakes = Vec::new();
    if alert.queue.parse::<QueueName>().is_err() {
        mistakes.push(format!("dead_alert.queue: {:?} is no queue's name", alert.queue));
    }
    if alert.queue == settings.queue {
        // An alert that fails would be a dead letter of its own, and so on.
        mistakes.push("dead_alert.queue: a queue cannot tell of its own dead letters".to_owned());
    }
    if !alert.url.starts_with("https://") && !alert.url.starts_with("http://") {
        mistakes.push(format!("dead_alert.url: {:?} does not begin with https:// or http://", alert.url));
    }
    if !(1..=60).contains(&alert.per_minute) {
        mistakes.push(format!("dead_alert.per_minute is {}, but must be from 1 to 60", alert.per_minute));
    }
    mistakes
}

/// The longest that a retry waits: half of the time for which ends are kept.
///
/// A retry that is stored just after its task was ended from outside finds the record of that end when it is due, and is
/// dropped. The other half is for its wait in the queue then. 7 days where ends are kept for longer.
#[must_use]
pub fn retry_delay_ms_max(settings: &v1::QueueSettings) -> i64 {
    (settings.retention_ms / 2).clamp(0, 7 * DAY_MS)
}

/// The lanes of checked settings, most urgent first.
#[must_use]
pub fn lanes(settings: &v1::QueueSettings) -> Vec<Lane> {
    settings.lanes.iter().filter_map(|lane| lane.parse().ok()).collect()
}

/// The lane of a task that names none: `m` where there is one, else the queue's last.
#[must_use]
pub fn default_lane(settings: &v1::QueueSettings) -> Lane {
    let lanes = lanes(settings);
    if lanes.contains(&Lane::DEFAULT) { Lane::DEFAULT } else { lanes.last().copied().unwrap_or(Lane::DEFAULT) }
}

#[cfg(test)]
mod tests {
    use super::{completed, defaults, mistakes};

    #[test]
    fn the_defaults_have_no_mistakes() {
        assert_eq!(mistakes(&defaults(&"mail".parse().expect("a name"))), Vec::<String>::new());
    }

    #[test]
    fn a_record_from_before_a_bound_existed_means_its_default() {
        let defaults = defaults(&"mail".parse().expect("a name"));
        let mut before = defaults.clone();
        before.scheduled_bytes_max = 0;
        assert_eq!(completed(before), defaults);
        let mut own = defaults.clone();
        own.scheduled_bytes_max = 1 << 20;
        assert_eq!(completed(own.clone()), own);
    }

    #[test]
    fn blobs_are_kept_for_longer_than_a_wait_and_a_dead_letter() {
        let days = |days: i64| {
            let mut settings = defaults(&"mail".parse().expect("a name"));
            settings.blobs_age_ms = days * super::DAY_MS;
            mistakes(&settings)
        };
        assert_eq!(days(38), Vec::<String>::new());
        assert!(days(37).concat().contains("blobs_age_ms"), "{:?}", days(37));
    }

    #[test]
    fn a_retry_waits_no_longer_than_its_end_would_be_kept() {
        let mut settings = defaults(&"mail".parse().expect("a name"));
        let mut with = |retention_ms: i64, max_ms: i64| {
            settings.retention_ms = retention_ms;
            settings.backoff = Some(crate::v1::Backoff { base_ms: 1_000, max_ms });
            mistakes(&settings)
        };
        assert_eq!(with(600_000, 300_000), Vec::<String>::new());
        assert!(with(600_000, 300_001).concat().contains("backoff_max_ms"));
        assert_eq!(with(365 * super::DAY_MS, 7 * super::DAY_MS), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_named_together() {
        let mut settings = defaults(&"mail".parse().expect("a name"));
        settings.attempts_max = 0;
        settings.lease_ms = 5;
        settings.replicas = 2;
        settings.lanes = vec!["mm".to_owned(), "h".to_owned(), "h".to_owned()];
        assert_eq!(mistakes(&settings).len(), 5, "{:?}", mistakes(&settings));
    }
}
