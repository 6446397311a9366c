//! The ledger that dispatchers keep of a queue, from its stream.
//!
//! In batches, from any replica; where one that is behind has nothing more, the leader is asked, so that no entry is
//! passed over which was there when the reading began.

use std::collections::VecDeque;

use futures::Stream;
use futures::stream::try_unfold;
use workfleet_link::batch::{self, BATCH_MESSAGES_MAX, Range};
use workfleet_link::broker::Broker;
use workfleet_link::read::{self, ReadError, StoredMessage};
use workfleet_proto::id::QueueName;

use super::{LedgerError, Line, Read};
use crate::ask;
use crate::limits::{LIST_READ_BYTES_MAX, QUEUES_LISTED_MAX};

/// Where the reading stands.
struct Place {
    broker: Broker,
    stream: String,
    filter: String,
    next: u64,
    /// The last sequence that there was when it began.
    last: u64,
    read: VecDeque<Read>,
}

/// Every entry that the ledger has now.
///
/// # Errors
/// When the queue has none, or the broker does not answer.
pub async fn of_queue(
    broker: &Broker,
    queue: &QueueName,
) -> Result<impl Stream<Item = Result<Read, LedgerError>> + use<>, LedgerError> {
    let stream = broker.names.accepted_stream(queue);
    let state = match ask::stream(broker, &stream).await {
        Err(ReadError::NoStream { .. }) => return Err(LedgerError::NoLedger { queue: queue.to_string() }),
        state => state?,
    };
    let (filter, read) = (broker.names.accepted_all(queue), VecDeque::new());
    let place =
        Place { broker: broker.clone(), stream, filter, next: state.first_seq.max(1), last: state.last_seq, read };
    Ok(try_unfold(place, async |mut place| {
        loop {
            if let Some(read) = place.read.pop_front() {
                return Ok(Some((read, place)));
            }
            if place.next > place.last {
                return Ok(None);
            }
            place.read_on().await?;
        }
    }))
}

/// The queues that keep one.
///
/// # Errors
/// When none does, or the broker does not answer.
pub async fn queues(broker: &Broker) -> Result<Vec<QueueName>, LedgerError> {
    let bucket = broker.names.queues_bucket();
    let prefix = format!("$KV.{bucket}.");
    let keys = ask::subjects(broker, &format!("KV_{bucket}"), &format!("{prefix}>"), QUEUES_LISTED_MAX).await?;
    let mut queues = Vec::new();
    for name in keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse::<QueueName>().ok()) {
        let settings = read::queue_settings(broker, &name).await?;
        if settings.is_some_and(|settings| settings.ledger) {
            queues.push(name);
        }
    }
    if queues.is_empty() { Err(LedgerError::NoLedgers) } else { Ok(queues) }
}

impl Place {
    async fn read_on(&mut self) -> Result<(), ReadError> {
        let range =
            Range { from: self.next, filter: None, messages_max: BATCH_MESSAGES_MAX, bytes_max: LIST_READ_BYTES_MAX };
        let mut messages = batch::range(&self.broker, &self.stream, range).await?.messages;
        if messages.is_empty() {
            messages.extend(ask::next_on(&self.broker, &self.stream, self.next, &self.filter).await?);
        }
        self.next = messages.last().map_or(self.last, |message| message.sequence) + 1;
        self.read.extend(messages.iter().map(|message| entry(&self.stream, message)));
        Ok(())
    }
}

fn entry(stream: &str, message: &StoredMessage) -> Read {
    Line::entry(&message.payload).map_or_else(|| Read::Unreadable(format!("{stream}:{}", message.sequence)), Read::Task)
}
