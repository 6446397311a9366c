//! The query and the headers of a request, up to the envelope that they lead to.
//!
//! The input is a line with the query, then the headers, a line each.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use workfleet_dispatcher::fuzz::{admit, headers, list};
use workfleet_dispatcher::{ListTasks, Options};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::limits::{IDEMPOTENCY_KEY_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, ORDERING_KEY_BYTES_MAX};
use workfleet_proto::settings;
use workfleet_proto::v1::Envelope;

use crate::is_a_fair_refusal;

const NOW_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// Reads one request.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let mut map = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        else {
            continue;
        };
        map.append(name, value);
    }
    let (wait, _, key) = headers(&map);
    assert!(wait.is_none_or(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(60)), "{wait:?}");
    lists(&pairs);
    match (Options::from_pairs(pairs), key) {
        (Ok(options), Ok(key)) => submits(key.as_deref(), &options),
        (Err(error), _) | (_, Err(error)) => is_a_fair_refusal(&error),
    }
}

fn lists(pairs: &[(&str, &str)]) {
    let read = ListTasks::from_pairs("mail".to_owned(), pairs.iter().copied());
    if let Err(error) = read.and_then(|read| list(&read)) {
        is_a_fair_refusal(&error);
    }
}

fn submits(key: Option<&str>, options: &Options) {
    let queue: QueueName = "mail".parse().expect("a name");
    let settings = settings::defaults(&queue);
    match admit(&queue, &settings, key, options, NOW_MS) {
        Err(error) => is_a_fair_refusal(&error),
        Ok(envelope) => {
            is_within_bounds(&envelope);
            assert!(envelope.timeout_ms <= settings.timeout_ms);
            assert!(key.is_none_or(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())));
            let again = admit(&queue, &settings, key, options, NOW_MS + 1).expect("what was right a moment ago");
            assert!(key.is_none() || again.id == envelope.id, "a key gives one task");
        }
    }
}

fn is_within_bounds(envelope: &Envelope) {
    let id: TaskId = envelope.id.parse().expect("an id");
    assert_eq!(id.queue_str(), "mail");
    assert!((1..=1_000).contains(&envelope.attempts_max) && envelope.timeout_ms > 0);
    for at_ms in envelope.not_before_ms.into_iter().chain(envelope.deadline_ms) {
        assert!((NOW_MS - DAY_MS..=NOW_MS + 400 * DAY_MS).contains(&at_ms), "{at_ms}");
    }
    if let (Some(start), Some(deadline)) = (envelope.not_before_ms, envelope.deadline_ms) {
        assert!(start < deadline, "it could only expire");
    }
    assert!(envelope.labels.len() <= LABELS_MAX);
    assert!(envelope.labels.iter().all(|(key, value)| key.len().max(value.len()) <= LABEL_BYTES_MAX));
    assert!(envelope.ordering_key.as_ref().is_none_or(|key| key.len() <= ORDERING_KEY_BYTES_MAX));
}
