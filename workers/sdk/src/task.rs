//! From a message to a task in this worker's hands.

use std::time::Instant;

use async_nats::{HeaderMap, Message, Subject};
use workfleet_link::broker::NatsHeaders;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::limits::{ATTEMPTS_KEPT_MAX, PAYLOAD_BYTES_MAX};
use workfleet_proto::names::Lane;
use workfleet_proto::settlement::{Company, Deadline, Delivered, Generation};
use workfleet_proto::v1::{Attempt, Envelope};
use workfleet_proto::wire::{self, CopyHeaders, TraceMode};

use crate::child;
use crate::context::Facts;
use crate::station::code;

/// A message as a pull brought it.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) lane: Lane,
    /// How often it was delivered, this time included.
    pub(crate) deliveries: u64,
    /// The earliest moment at which its lease may have begun.
    pub(crate) received_at: Instant,
    pub(crate) message: Message,
}

/// What the reply subject of a delivery tells: `$JS.ACK.<stream>.<consumer>.<deliveries>.<...>`, or with domain and
/// account before the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AckAddress {
    pub(crate) consumer: String,
    pub(crate) deliveries: u64,
}

impl AckAddress {
    pub(crate) fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let stream = match (tokens.len(), tokens.get(..2)?) {
            (9, ["$JS", "ACK"]) => 2,
            (11.., ["$JS", "ACK"]) => 4,
            _ => return None,
        };
        Some(Self { consumer: tokens[stream + 1].to_owned(), deliveries: tokens[stream + 2].parse().ok()? })
    }
}

/// A task that this worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) id: TaskId,
    pub(crate) lane: Lane,
    pub(crate) copy: CopyHeaders,
    pub(crate) delivered: Delivered,
    pub(crate) envelope: Envelope,
    /// Where acknowledgements go.
    pub(crate) ack: Subject,
    /// For the trace context.
    pub(crate) headers: HeaderMap,
    pub(crate) received_at: Instant,
}

impl Held {
    /// The same as what is recorded of the task says, where its own headers say nothing: the run that the record is of, with
    /// the sequence of a mark.
    pub(crate) fn adopting(&self, run: u32, result_sequence: u64) -> Self {
        let mut adopted = self.clone();
        adopted.copy.generation.run = run;
        adopted.copy.result_sequence = result_sequence;
        adopted.delivered.generation.run = run;
        adopted.delivered.result_sequence = result_sequence;
        adopted
    }

    /// Which attempt this delivery is, if its handler starts.
    pub(crate) fn attempt(&self) -> u32 {
        self.delivered.attempt()
    }

    pub(crate) fn attempts_max(&self) -> u32 {
        self.envelope.attempts_max.max(1)
    }

    /// Whether its result is still wanted at `now_ms`, milliseconds since the Unix epoch.
    pub(crate) fn deadline(&self, now_ms: i64) -> Deadline {
        match self.envelope.deadline_ms {
            Some(deadline_ms) if deadline_ms <= now_ms => Deadline::Passed,
            _ => Deadline::Open,
        }
    }

    /// The attempts of this copy that left nothing, since their workers were lost or could not store it. When they were, and
    /// where, nobody knows.
    pub(crate) fn lost(&self) -> impl Iterator<Item = Attempt> {
        // Attempts beyond the last were never started.
        let end = self.attempt().min(self.attempts_max().saturating_add(1));
        let kept = u32::try_from(ATTEMPTS_KEPT_MAX).unwrap_or(u32::MAX);
        let begin = self.copy.generation.attempt.max(end.saturating_sub(kept));
        (begin..end).map(|attempt| Attempt {
            attempt,
            code: code::WORKER_LOST.to_owned(),
            message: "it left no outcome: its worker was lost, or could not store it".to_owned(),
            ..Attempt::default()
        })
    }

    /// Whom it shares its process with. A worker that is lost takes all its tasks along, whichever of them was the cause, so
    /// what counts is how many were lost with this task in this run; a copy that was handed back, or is a retry, remembers
    /// those of the copies before it.
    pub(crate) fn company(&self) -> Company {
        let remembered = |attempt: &&Attempt| attempt.code == code::WORKER_LOST && attempt.started_at_ms == 0;
        let before = self.envelope.attempts.iter().filter(remembered).count() as u64;
        Delivered { deliveries: self.delivered.deliveries.saturating_add(before), ..self.delivered }.company()
    }

    /// What a handler may know of the task.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            run: self.copy.generation.run,
            submitted_at_ms: self.envelope.submitted_at_ms,
            deadline_ms: self.envelope.deadline_ms,
            labels: self.envelope.labels.clone(),
            children: self.children(),
        }
    }

    /// Children that earlier attempts of this run have told of.
    pub(crate) fn children(&self) -> Vec<TaskId> {
        child::told(&self.envelope.children)
    }

    /// Hash of the schema that the payload was written with.
    pub(crate) fn schema(&self) -> &str {
        if self.copy.schema.is_empty() { &self.envelope.schema } else { &self.copy.schema }
    }
}

/// A message that is no task.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It was meant to be the task of this id, which fails.
    Task {
        /// What can be made of it; its payload is the body, cut to what fits into a dead letter.
        held: Box<Held>,
        reason: String,
        /// What its headers are worth.
        headers: Headers,
    },
    /// It has no id, so nobody waits for it.
    Nameless { ack: Subject, subject: String, reason: String },
}

/// Whether the headers of a copy say which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    /// They do.
    Read,
    /// They cannot be read: its run is unknown.
    Unread,
}

/// Reads a message.
pub(crate) fn open(queue: &QueueName, pulled: Pulled) -> Result<Held, Unreadable> {
    let Pulled { lane, deliveries, received_at, message } = pulled;
    // A delivery without a reply subject is not let through by the pull.
    let ack = message.reply.unwrap_or_else(|| Subject::from_static(""));
    let subject = message.subject.to_string();
    let Some(id) = id_of_subject(queue, &subject) else {
        let reason = "the subject does not end in an id of this queue".to_owned();
        return Err(Unreadable::Nameless { ack, subject, reason });
    };
    let headers = message.headers.unwrap_or_default();
    let copy = CopyHeaders::read(&NatsHeaders(&headers));
    let envelope = wire::read_envelope(message.payload.clone());
    let fault = match (&copy, &envelope) {
        (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
        (_, Ok((inner, _))) if *inner != id => Some(format!("the envelope is that of {inner}")),
        _ => None,
    };
    let worth = if copy.is_ok() { Headers::Read } else { Headers::Unread };
    let copy = copy.unwrap_or_else(|_| unknown_copy());
    let delivered = copy.delivered(&NatsHeaders(&headers), deliveries);
    let held = |envelope| Held { id: id.clone(), lane, copy, delivered, envelope, ack, headers, received_at };
    match (fault, envelope) {
        (None, Ok((_, envelope))) => Ok(held(envelope)),
        (fault, _) => {
            let payload = message.payload.slice(..message.payload.len().min(PAYLOAD_BYTES_MAX));
            let envelope = Envelope { id: id.to_string(), payload, ..Default::default() };
            let (held, reason) = (Box::new(held(envelope)), fault.unwrap_or_default());
            Err(Unreadable::Task { held, reason, headers: worth })
        }
    }
}

fn id_of_subject(queue: &QueueName, subject: &str) -> Option<TaskId> {
    let id: TaskId = subject.rsplit('.').next()?.parse().ok()?;
    (id.queue_str() == queue.as_str()).then_some(id)
}

fn unknown_copy() -> CopyHeaders {
    CopyHeaders {
        generation: Generation::FIRST,
        result_sequence: 0,
        check: true,
        schema: String::new(),
        schema_backs: 0,
        due_ms: 0,
        trace: TraceMode::Child,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{AckAddress, Held, Pulled, Unreadable, open};
    use async_nats::{HeaderMap, Message};
    use bytes::Bytes;
    use prost::Message as _;
    use std::time::Instant;
    use workfleet_proto::id::QueueName;
    use workfleet_proto::names::Lane;
    use workfleet_proto::settlement::{Company, Generation};
    use workfleet_proto::v1::{Attempt, Backoff, Envelope};
    use workfleet_proto::wire::{CopyHeaders, TraceMode};

    const ID: &str = "mail_01h455vb4pex5vsknk084sn02q";

    fn queue() -> QueueName {
        "mail".parse().expect("a name")
    }

    fn message(subject: &str, headers: HeaderMap, payload: Bytes) -> Pulled {
        let message = Message {
            subject: subject.into(),
            reply: Some("$JS.ACK.TASKS_mail.WORK_m.2.7.9.1.0".into()),
            payload,
            headers: Some(headers),
            status: None,
            description: None,
            length: 0,
        };
        Pulled { lane: Lane::DEFAULT, deliveries: 2, received_at: Instant::now(), message }
    }

    fn headers() -> HeaderMap {
        let copy = CopyHeaders {
            generation: Generation { run: 1, attempt: 2, back: 0 },
            result_sequence: 0,
            check: false,
            schema: "0123456789abcdef".to_owned(),
            schema_backs: 0,
            due_ms: 5,
            trace: TraceMode::Child,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in copy.pairs() {
            headers.insert(name, value);
        }
        headers
    }

    /// A task in its third attempt, of five.
    pub(crate) fn held() -> Held {
        let backoff = Some(Backoff { base_ms: 1_000, max_ms: 60_000 });
        let envelope =
            Envelope { id: ID.to_owned(), attempts_max: 5, backoff, timeout_ms: 1_000, ..Default::default() };
        let pulled = message(&format!("wf.task.mail.q.m.{ID}"), headers(), envelope.encode_to_vec().into());
        open(&queue(), pulled).expect("a task")
    }

    #[test]
    fn a_task_is_read_with_the_attempt_that_this_delivery_is() {
        let held = held();
        assert_eq!((held.id.as_str(), held.attempt(), held.attempts_max()), (ID, 3, 5));
        assert_eq!(held.schema(), "0123456789abcdef");
    }

    #[test]
    fn two_lost_workers_make_a_task_run_alone_in_whatever_copies_it_was_lost() {
        let mut held = held();
        assert_eq!(held.company(), Company::Shared, "one was lost with this copy");
        held.envelope.attempts = held.lost().collect();
        assert_eq!(held.company(), Company::Alone, "and one with the copy before");
        held.envelope.attempts = vec![Attempt { code: "error".to_owned(), started_at_ms: 5, ..Attempt::default() }; 3];
        assert_eq!(held.company(), Company::Shared, "an error takes nobody along");
    }

    #[test]
    fn what_is_no_task_fails_under_the_id_of_its_subject_and_keeps_its_bytes() {
        let subject = format!("wf.task.mail.q.m.{ID}");
        let other = Envelope { id: ID.replace("01h4", "01h5"), ..Default::default() }.encode_to_vec();
        for (headers, body) in [(HeaderMap::new(), other.clone()), (headers(), b"\xff".to_vec()), (headers(), other)] {
            let Err(Unreadable::Task { held, reason, .. }) =
                open(&queue(), message(&subject, headers, body.clone().into()))
            else {
                panic!("read as a task");
            };
            assert_eq!((held.id.as_str(), &held.envelope.payload[..]), (ID, &body[..]));
            assert!(!reason.is_empty());
        }
    }

    #[test]
    fn what_has_no_id_of_this_queue_is_nobodys() {
        for subject in ["wf.task.mail.q.m.x", "wf.task.mail.q.m.text_01h455vb4pex5vsknk084sn02q"] {
            let opened = open(&queue(), message(subject, headers(), Bytes::new()));
            assert!(matches!(opened, Err(Unreadable::Nameless { .. })), "{subject}");
        }
    }

    #[test]
    fn the_reply_subject_is_read_in_both_forms() {
        let expected = Some(AckAddress { consumer: "WORK_m".to_owned(), deliveries: 3 });
        assert_eq!(AckAddress::read("$JS.ACK.TASKS_mail.WORK_m.3.1.1.1700000000000000000.0"), expected);
        assert_eq!(AckAddress::read("$JS.ACK._.hash.TASKS_mail.WORK_m.3.1.1.1700000000000000000.0"), expected);
        for bad in ["", "$JS.ACK.x", "a.b.c.d.e.f.g.h.i", "$JS.ACK.TASKS_mail.WORK_m.x.1.1.1.0"] {
            assert_eq!(AckAddress::read(bad), None, "{bad}");
        }
    }
}
