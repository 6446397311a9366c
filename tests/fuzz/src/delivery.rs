//! A message on a task's subject. Whoever has the key of one worker or dispatcher can publish there.
//!
//! The input is the message as it is written down: its subject, its reply subject, its headers, an empty line, its body.

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use bytes::Bytes;
use prost::Message as _;
use workfleet_link::broker::NatsHeaders;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::limits::{ATTEMPTS_KEPT_MAX, PAYLOAD_BYTES_MAX};
use workfleet_proto::v1::DeadLetter;
use workfleet_proto::wire::{CopyHeaders, read_envelope};
use workfleet_sdk::fuzz::{Opened, Opening, open};

/// Looks at one message.
pub fn run(data: &[u8]) {
    let queue: QueueName = "mail".parse().expect("a name");
    let Some(message) = message(data) else { return };
    let (subject, body) = (message.subject.to_string(), message.payload.clone());
    match open(&queue, message) {
        None => {}
        Some(Opened::Nameless(reason)) => assert!(!reason.is_empty() && !ends_in_id_of(&subject, &queue)),
        Some(Opened::Unreadable(opening, reason)) => {
            assert!(!reason.is_empty(), "a task fails without a reason");
            assert!(opening.envelope.payload.len() <= PAYLOAD_BYTES_MAX);
            assert!(body.starts_with(&opening.envelope.payload), "the dead letter has something else");
            stands(&queue, &subject, &opening);
        }
        Some(Opened::Task(opening)) => {
            assert_eq!(opening.envelope.id, opening.id.to_string(), "the envelope of another task");
            stands(&queue, &subject, &opening);
            copies_can_be_read(&opening);
        }
    }
}

fn message(data: &[u8]) -> Option<Message> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let mut lines = std::str::from_utf8(&data[..end]).ok()?.lines();
    let (subject, reply) = (lines.next()?, lines.next()?);
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.append(name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?);
    }
    Some(Message {
        subject: subject.into(),
        reply: Some(reply.into()),
        payload: Bytes::copy_from_slice(&data[end + 2..]),
        headers: Some(headers),
        status: None,
        description: None,
        length: data.len(),
    })
}

fn ends_in_id_of(subject: &str, queue: &QueueName) -> bool {
    let id = subject.rsplit('.').next().and_then(|token| token.parse::<TaskId>().ok());
    id.is_some_and(|id| id.queue() == *queue)
}

/// What holds for a task that fails now, readable or not.
fn stands(queue: &QueueName, subject: &str, opening: &Opening) {
    assert_eq!(opening.id.queue(), *queue, "a task of another queue");
    assert!(subject.ends_with(opening.id.as_str()));
    assert!(opening.attempt >= 1 && opening.attempt >= opening.copy.generation.attempt);
    if let Some(blob) = &opening.claimed {
        assert_eq!(blob.queue(), queue, "a claim check on another queue");
    }
    // As it is, without its payload, with nothing but what a redrive needs, without that.
    assert!((1..=4).contains(&opening.letters.len()), "{} forms of a dead letter", opening.letters.len());
    let mut before = usize::MAX;
    for letter in &opening.letters {
        let bytes = letter.encode_to_vec();
        // The reason grows by the words that say what is missing.
        assert!(bytes.len() <= before.saturating_add(64), "a smaller form is larger");
        before = bytes.len();
        assert_eq!(DeadLetter::decode(bytes.as_slice()).as_ref(), Ok(letter), "a dead letter that cannot be read");
        let result = letter.result.as_ref().expect("how it ended");
        assert!(result.attempts.len() <= ATTEMPTS_KEPT_MAX);
        assert_eq!(result.id, opening.id.to_string());
    }
}

/// Each next copy is a task as well, later than this one, and says the same.
fn copies_can_be_read(opening: &Opening) {
    assert_eq!(opening.copies.len(), 3);
    for publish in &opening.copies {
        let copy = CopyHeaders::read(&NatsHeaders(&publish.headers)).expect("headers of ours");
        let is_last = opening.attempt == u32::MAX || opening.copy.generation.back == u32::MAX;
        assert!(copy.generation > opening.copy.generation || is_last, "{copy:?} after {:?}", opening.copy);
        assert_eq!((copy.result_sequence, copy.check), (opening.copy.result_sequence, opening.copy.check));
        assert_eq!(copy.schema, opening.copy.schema);
        let (id, envelope) = read_envelope(publish.payload.clone()).expect("an envelope of ours");
        assert_eq!((&id, &envelope.payload), (&opening.id, &opening.envelope.payload));
        assert!(publish.subject.ends_with(id.as_str()));
    }
}
