//! What tests/fuzz asks of this crate: a message as a pull brings it, and all that a worker would store because of it.
//!
//! It is there with the feature `fuzz` alone. To make the stations public instead would promise them to every author of a
//! worker.

use std::time::{Duration, Instant};

use async_nats::Message;
use workfleet_link::pipeline::Publish;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::{Lane, Names};
use workfleet_proto::v1::{DeadLetter, Envelope, Failure};
use workfleet_proto::wire::CopyHeaders;

use crate::payload;
use crate::records::{self, Copy, Ran};
use crate::task::{self, AckAddress, Held, Pulled, Unreadable};

/// A message that a worker has looked at.
#[derive(Debug)]
pub enum Opened {
    /// A task, with what would be stored if it failed now.
    Task(Box<Opening>),
    /// It was meant to be the task of an id, and fails.
    Unreadable(Box<Opening>, String),
    /// Nobody waits for it.
    Nameless(String),
}

/// A task, and what would be stored if it failed now.
#[derive(Debug)]
pub struct Opening {
    /// Its id.
    pub id: TaskId,
    /// Its headers.
    pub copy: CopyHeaders,
    /// The attempt that its handler would be.
    pub attempt: u32,
    /// Its body.
    pub envelope: Envelope,
    /// The blob that holds its payload, if its claim check is believed.
    pub claimed: Option<BlobId>,
    /// Its next copies: a retry, and handed back at once and later.
    pub copies: Vec<Publish>,
    /// Its dead letter, and each smaller form of it.
    pub letters: Vec<DeadLetter>,
}

/// Looks at a message of `queue`. `None`: no pull would have let it through.
#[must_use]
pub fn open(queue: &QueueName, message: Message) -> Option<Opened> {
    let address = AckAddress::read(message.reply.as_deref()?)?;
    let lane = address.consumer.strip_prefix("WORK_")?.parse::<Lane>().ok()?;
    let pulled = Pulled { lane, deliveries: address.deliveries, received_at: Instant::now(), message };
    Some(match task::open(queue, pulled) {
        Ok(held) => Opened::Task(Box::new(opening(&held))),
        Err(Unreadable::Task { held, reason, .. }) => Opened::Unreadable(Box::new(opening(&held)), reason),
        Err(Unreadable::Nameless { reason, .. }) => Opened::Nameless(reason),
    })
}

fn opening(held: &Held) -> Opening {
    let names = Names::default();
    let failure = Failure { code: "error".to_owned(), message: "it failed".to_owned() };
    let children = held.children();
    let ran = Ran { held, worker: "w", started_at_ms: Some(1), ended_at_ms: 2, children };
    let copies = [
        ran.retry(&names, &failure, Duration::from_secs(3)),
        ran.hand_back(&names, Duration::ZERO),
        ran.hand_back_unknown(&names, Duration::MAX),
    ];
    let letter = records::dead_letter(ran.failed(failure), held);
    let letters = std::iter::successors(Some(letter), records::smaller).take(9).collect();
    Opening {
        id: held.id.clone(),
        copy: held.copy.clone(),
        attempt: held.attempt(),
        envelope: held.envelope.clone(),
        claimed: payload::claimed(held).ok().flatten(),
        copies: copies.map(|(Copy::Due(message) | Copy::Scheduled(message))| message).into(),
        letters,
    }
}
