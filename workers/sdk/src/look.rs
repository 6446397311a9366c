//! Looks before a handler starts: has the task ended, or does a later copy of it exist?
//!
//! Every read goes to the leader; a replica that is behind would show neither a result nor a retry that was just stored.

use std::time::{Duration, Instant};

use prost::Message as _;
use workfleet_link::broker::{Broker, NatsHeaders};
use workfleet_link::read::{self, ReadError, StoredMessage};
use workfleet_proto::id::TaskId;
use workfleet_proto::settlement::{Generation, Look, Read, Recorded, Scheduled, Seen};
use workfleet_proto::v1;
use workfleet_proto::wire::CopyHeaders;

use crate::task::Held;

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) seen: Seen,
    /// The record itself, for its dead letter.
    pub(crate) result: Option<v1::Result>,
}

/// How long a look is tried. It costs a slot; a delivery that is given back instead costs the task an attempt.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);
/// Wait between two tries.
const TRY_DELAY: Duration = Duration::from_millis(250);

/// Reads what [`Delivered::look`](workfleet_proto::settlement::Delivered::look) asks for, and the record in any case of a task
/// that is said to have been `halted`. Tries again while it is `worthwhile`.
pub(crate) async fn look(
    broker: &Broker,
    held: &Held,
    halted: bool,
    worthwhile: impl Fn() -> bool,
) -> Result<Found, ReadError> {
    let look = match held.delivered.look() {
        Look::No if halted => Look::Result,
        look => look,
    };
    look_for(broker, held, look, worthwhile).await
}

/// Reads the record alone, as [`look`] does.
pub(crate) async fn look_at_record(
    broker: &Broker,
    held: &Held,
    worthwhile: impl Fn() -> bool,
) -> Result<Found, ReadError> {
    look_for(broker, held, Look::Result, worthwhile).await
}

async fn look_for(broker: &Broker, held: &Held, look: Look, worthwhile: impl Fn() -> bool) -> Result<Found, ReadError> {
    let start = Instant::now();
    loop {
        match look_once(broker, held, look).await {
            Err(error) if start.elapsed() < LOOK_TIME_MAX && worthwhile() => {
                tracing::debug!(workfleet.task.id = %held.id, %error, "a look is tried again");
                tokio::time::sleep(TRY_DELAY).await;
            }
            looked => return looked,
        }
    }
}

/// All reads anew each time, in the order that [`Look::reads`](workfleet_proto::settlement::Look::reads) says.
async fn look_once(broker: &Broker, held: &Held, look: Look) -> Result<Found, ReadError> {
    let (names, id) = (&broker.names, &held.id);
    let mut found = Found::default();
    for read in look.reads() {
        let copy = match read {
            Read::Scheduled => delayed(broker, id, &names.delay_at(id)).await?,
            Read::Due => delayed(broker, id, &names.delay_due(id, held.lane)).await?,
            Read::Queued => {
                let stream = names.tasks_stream(&id.queue());
                read::last_on_subject(broker, &stream, &names.task(id, held.lane)).await?
            }
            Read::Result => {
                found.result = result(broker, id).await?;
                found.seen.result = found.result.as_ref().map(recorded);
                continue;
            }
        };
        found.seen.latest_copy = found.seen.latest_copy.max(copy.as_ref().and_then(generation));
    }
    Ok(found)
}

/// The task's schedule, if it has one.
pub(crate) async fn scheduled(broker: &Broker, id: &TaskId) -> Result<Option<Scheduled>, ReadError> {
    let copy = delayed(broker, id, &broker.names.delay_at(id)).await?;
    // What carries no generation of ours is earlier than any: it may be replaced.
    let scheduled = |copy: StoredMessage| Scheduled {
        generation: generation(&copy).unwrap_or(Generation { run: 0, attempt: 0, back: 0 }),
        sequence: copy.sequence,
    };
    Ok(copy.map(scheduled))
}

async fn delayed(broker: &Broker, id: &TaskId, subject: &str) -> Result<Option<StoredMessage>, ReadError> {
    read::last_on_subject(broker, &broker.names.delay_stream(&id.queue()), subject).await
}

/// The record on the task's result subject.
pub(crate) async fn result(broker: &Broker, id: &TaskId) -> Result<Option<v1::Result>, ReadError> {
    Ok(record(broker, id).await?.map(|(record, _)| record))
}

/// The same with its sequence.
pub(crate) async fn record(broker: &Broker, id: &TaskId) -> Result<Option<(v1::Result, u64)>, ReadError> {
    let stream = broker.names.results_stream(&id.queue());
    let Some(stored) = read::last_on_subject(broker, &stream, &broker.names.result(id)).await? else {
        return Ok(None);
    };
    let garbled = |error: prost::DecodeError| ReadError::Garbled { place: stored.subject, reason: error.to_string() };
    let sequence = stored.sequence;
    v1::Result::decode(stored.payload).map(|record| Some((record, sequence))).map_err(garbled)
}

/// A record as the rules of settling see it.
pub(crate) fn recorded(result: &v1::Result) -> Recorded {
    Recorded { state: result.state(), run: result.run }
}

fn generation(copy: &StoredMessage) -> Option<Generation> {
    CopyHeaders::read(&NatsHeaders(&copy.headers)).ok().map(|copy| copy.generation)
}
