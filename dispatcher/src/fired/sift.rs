//! Takes out what breaks the connection of whoever is given it.
//!
//! The client ends a connection on which a message comes whose headers are none, and the server stores such a message for
//! whoever may publish there: a worker with its key. It is given out again and again, and each time the dispatcher that gets
//! it loses its connection, with all that it does for others. So after a connection that was lost, what may have come is read
//! one by one in another form, which the client takes apart when asked to, and what has no readable headers is deleted. No
//! program of ours writes such a message.

use std::str::FromStr as _;

use async_nats::HeaderName;
use async_nats::jetstream::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use workfleet_link::broker::Broker;

use crate::ask;
use crate::limits::FIRED_BATCH_MAX;

/// Messages that are looked at after a connection was lost: what one request brings, and one before it.
const SIFTED_MAX: usize = 2 * FIRED_BATCH_MAX;

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    seq: u64,
    subject: String,
    #[serde(default)]
    hdrs: String,
}

/// Looks at what the consumer has given out, and deletes what nobody can read. What the broker does not answer is left for
/// the next time.
pub(super) async fn sift(broker: &Broker, stream: &str, consumer: &str, filter: &str) {
    let Ok(state) = ask::consumer(broker, stream, consumer).await else { return };
    let mut sequence = state.ack_floor.stream_seq + 1;
    for _ in 0..SIFTED_MAX {
        let Some(raw) = next(broker, stream, sequence, filter).await else { return };
        sequence = raw.seq + 1;
        let is_readable = STANDARD.decode(&raw.hdrs).is_ok_and(|headers| are_readable(&headers));
        if !is_readable && ask::delete_message(broker, stream, raw.seq).await.is_ok() {
            let subject = raw.subject;
            tracing::error!(%subject, "deleted: its headers are none, and broke the connection of whoever took it");
        }
    }
}

async fn next(broker: &Broker, stream: &str, sequence: u64, filter: &str) -> Option<Raw> {
    let question = json!({ "seq": sequence, "next_by_subj": filter });
    match ask::api::<_, Answer>(broker, format!("STREAM.MSG.GET.{stream}"), Some(&question)).await.ok()? {
        Response::Ok(answer) => Some(answer.message),
        Response::Err { .. } => None,
    }
}

/// Whether the client takes them: a line that says so, and then names with values, or what goes on with a value.
fn are_readable(headers: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(headers) else { return false };
    let mut lines = text.lines();
    let begins = headers.is_empty() || lines.next().is_some_and(|line| line.starts_with("NATS/1.0"));
    begins && lines.filter(|line| !line.is_empty()).all(is_header)
}

fn is_header(line: &str) -> bool {
    line.starts_with(char::is_whitespace)
        || line.split_once(':').is_some_and(|(name, _)| HeaderName::from_str(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::are_readable;

    #[test]
    fn headers_are_told_from_what_is_none() {
        for good in ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\nWf-Run: 1\r\nA: b\r\n  c\r\n\r\n", "NATS/1.0 503\r\n\r\n"] {
            assert!(are_readable(good.as_bytes()), "{good:?}");
        }
        for bad in ["NATS/1.0\r\nnocolon\r\n\r\n", "HTTP/1.1\r\n\r\n", "NATS/1.0\r\nb d: x\r\n\r\n", "\r\n"] {
            assert!(!are_readable(bad.as_bytes()), "{bad:?}");
        }
        assert!(!are_readable(b"NATS/1.0\r\nA: \xff\r\n\r\n"));
    }
}
