//! An envelope as (subject, headers, bytes), and back.
//!
//! What differs from copy to copy (run, attempt, hand-backs, the awaited sequence) travels in headers, because a
//! schedule and whoever carries a copy pass headers on untouched, and because a worker decides on them before it decodes
//! anything. What belongs to the task stays in the body.

use bytes::Bytes;
use prost::Message;

use crate::id::TaskId;
use crate::names::header;
use crate::settlement::{Delivered, Generation, Origin};
use crate::v1::Envelope;

/// Reads a header by its exact name. The broker's client has a map for it; this crate has none.
pub trait Headers {
    /// The first value under `name`.
    fn value(&self, name: &str) -> Option<&str>;
}

impl Headers for [(&str, String)] {
    fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Where an attempt's span belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceMode {
    /// A child of the sender's span, in the same trace.
    #[default]
    Child,
    /// The root of a trace of its own, linked to the sender's span: so much time lies between that one trace would be
    /// unreadable.
    Linked,
}

/// The headers of a copy of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyHeaders {
    /// Where the copy stands in the task's history.
    pub generation: Generation,
    /// Sequence of the record that the result must replace; 0: none.
    pub result_sequence: u64,
    /// Whether the worker must read the result before it starts.
    pub check: bool,
    /// Hash of the schema that the payload was written with.
    pub schema: String,
    /// How often the attempt was handed back since a worker did not know that schema. Apart from the generation's count, for
    /// this one has a limit, and what is handed back for another reason must not come nearer to it.
    pub schema_backs: u32,
    /// When this copy can first be taken, milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// Where the attempt's span belongs.
    pub trace: TraceMode,
}

impl CopyHeaders {
    /// The headers as pairs. The message id, the schedule and the trace context are added by whoever publishes.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (header::RUN, self.generation.run.to_string()),
            (header::ATTEMPT, self.generation.attempt.to_string()),
            (header::SCHEMA, self.schema.clone()),
            (header::DUE_MS, self.due_ms.to_string()),
        ];
        if self.generation.back > 0 {
            pairs.push((header::BACK, self.generation.back.to_string()));
        }
        if self.schema_backs > 0 {
            pairs.push((header::SCHEMA_BACK, self.schema_backs.to_string()));
        }
        if self.result_sequence > 0 {
            pairs.push((header::RESULT_SEQ, self.result_sequence.to_string()));
        }
        if self.check {
            pairs.push((header::CHECK, "1".to_owned()));
        }
        if self.trace == TraceMode::Linked {
            pairs.push((header::TRACE, "link".to_owned()));
        }
        pairs
    }

    /// Reads the headers of a message.
    ///
    /// # Errors
    /// When a number is missing or is none: nobody of ours wrote that message.
    pub fn read<H: Headers + ?Sized>(headers: &H) -> Result<Self, WireError> {
        let generation = Generation {
            run: positive(headers, header::RUN)?,
            attempt: positive(headers, header::ATTEMPT)?,
            back: optional(headers, header::BACK)?,
        };
        Ok(Self {
            generation,
            result_sequence: optional(headers, header::RESULT_SEQ)?,
            check: headers.value(header::CHECK).is_some_and(|value| value != header::CARRIED),
            schema: headers.value(header::SCHEMA).unwrap_or_default().to_owned(),
            schema_backs: optional(headers, header::SCHEMA_BACK)?,
            due_ms: optional(headers, header::DUE_MS)?,
            trace: match headers.value(header::TRACE) {
                Some("link") => TraceMode::Linked,
                _ => TraceMode::Child,
            },
        })
    }

    /// The delivery as the rules of settling see it.
    #[must_use]
    pub fn delivered<H: Headers + ?Sized>(&self, headers: &H, deliveries: u64) -> Delivered {
        let is_carried = headers.value(header::CHECK) == Some(header::CARRIED);
        // Moved by the server itself, in the days before.
        let is_sourced = headers.value(header::STREAM_SOURCE).is_some();
        Delivered {
            generation: self.generation,
            deliveries,
            origin: if is_carried || is_sourced { Origin::Carried } else { Origin::Direct },
            check: self.check,
            result_sequence: self.result_sequence,
        }
    }
}

/// Reads the body of a task's message.
///
/// # Errors
/// When the bytes are no envelope, or its id is none.
pub fn read_envelope(body: Bytes) -> Result<(TaskId, Envelope), WireError> {
    let envelope = Envelope::decode(body).map_err(|error| WireError::Body(error.to_string()))?;
    let id = envelope.id.parse().map_err(|_| WireError::Id)?;
    Ok((id, envelope))
}

fn positive<H: Headers + ?Sized>(headers: &H, name: &'static str) -> Result<u32, WireError> {
    match headers.value(name).map(str::parse::<u32>) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err(WireError::Header(name)),
    }
}

fn optional<H: Headers + ?Sized, N: std::str::FromStr + Default>(
    headers: &H,
    name: &'static str,
) -> Result<N, WireError> {
    headers.value(name).map_or(Ok(N::default()), |value| value.parse().map_err(|_| WireError::Header(name)))
}

/// Why a message on a task's subject is not a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A header is missing or not a number.
    #[error("the header {0} is missing or not a number")]
    Header(&'static str),
    /// The body is not an envelope.
    #[error("the body is not an envelope: {0}")]
    Body(String),
    /// The envelope's id is not a task id.
    #[error("the envelope's id is not a task id")]
    Id,
}

#[cfg(test)]
mod tests {
    use super::{CopyHeaders, Headers, TraceMode, WireError, read_envelope};
    use crate::names::header;
    use crate::settlement::{Generation, Origin};
    use bytes::Bytes;

    fn copy() -> CopyHeaders {
        CopyHeaders {
            generation: Generation { run: 2, attempt: 3, back: 1 },
            result_sequence: 77,
            check: true,
            schema: "0123456789abcdef".to_owned(),
            schema_backs: 5,
            due_ms: 1_700_000_000_000,
            trace: TraceMode::Linked,
        }
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        assert_eq!(CopyHeaders::read(copy().pairs().as_slice()), Ok(copy()));
        let plain = CopyHeaders {
            generation: Generation::FIRST,
            result_sequence: 0,
            check: false,
            schema_backs: 0,
            trace: TraceMode::Child,
            ..copy()
        };
        assert_eq!(CopyHeaders::read(plain.pairs().as_slice()), Ok(plain));
    }

    #[test]
    fn headers_of_somebody_else_are_an_error_and_name_the_header() {
        let mut pairs = copy().pairs();
        pairs.retain(|(name, _)| *name != header::RUN);
        assert_eq!(CopyHeaders::read(pairs.as_slice()), Err(WireError::Header(header::RUN)));
        for bad in ["0", "-1", "x", "", "4294967296"] {
            let pairs = [(header::RUN, "1".to_owned()), (header::ATTEMPT, bad.to_owned())];
            assert_eq!(CopyHeaders::read(pairs.as_slice()), Err(WireError::Header(header::ATTEMPT)), "{bad}");
        }
    }

    #[test]
    fn what_came_through_the_delay_stream_is_recognised() {
        let without = CopyHeaders { check: false, ..copy() };
        for (name, value) in [(header::CHECK, header::CARRIED), (header::STREAM_SOURCE, "DELAY_mail:1")] {
            let mut pairs = without.pairs();
            assert_eq!(without.delivered(pairs.as_slice(), 1).origin, Origin::Direct);
            pairs.push((name, value.to_owned()));
            assert_eq!(without.delivered(pairs.as_slice(), 1).origin, Origin::Carried, "{name}");
            assert_eq!(CopyHeaders::read(pairs.as_slice()), Ok(without.clone()), "{name} is no part of the next copy");
        }
        let pairs = copy().pairs();
        assert_eq!(pairs.as_slice().value("wf-run"), None, "names are compared letter by letter");
    }

    #[test]
    fn a_body_that_is_no_envelope_is_an_error() {
        assert!(matches!(read_envelope(Bytes::from_static(b"\xff\xff")), Err(WireError::Body(_))));
        assert_eq!(read_envelope(Bytes::new()), Err(WireError::Id));
    }
}
