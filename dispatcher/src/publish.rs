//! An envelope to JetStream's acknowledgement: nothing is accepted before that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_nats::HeaderMap;
use bytes::Bytes;
use opentelemetry::Context;
use prost::Message as _;
use workfleet_link::broker::Broker;
use workfleet_link::pipeline::{Pipeline, Publish, PublishError, Stored};
use workfleet_link::read::{self, ReadError};
use workfleet_link::telemetry::trace;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Names, header};
use workfleet_proto::settlement::Generation;
use workfleet_proto::wire::CopyHeaders;

use crate::admit::{Admitted, Start};
use crate::error::{ApiError, Code};
use crate::limits::{BROKER_RETRY_AFTER_MS, IN_FLIGHT_PAUSE, IN_FLIGHT_TRIES_MAX};

/// The ways into the streams.
pub(crate) struct Publisher {
    broker: Broker,
    /// One for each stream that was published to, for as long as the dispatcher lives.
    pipelines: Mutex<HashMap<String, Pipeline>>,
}

impl Publisher {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, pipelines: Mutex::default() }
    }

    /// Stores a task that has no copy yet.
    ///
    /// # Errors
    /// [`PublishError::Lost`] when the task of a keyed submit has a copy already; otherwise see [`PublishError`].
    pub(crate) async fn task(&self, admitted: &Admitted, context: &Context) -> Result<Stored, PublishError> {
        let queue = admitted.id.queue();
        let stream = match admitted.start {
            Start::Now => self.broker.names.tasks_stream(&queue),
            Start::At(_) => self.broker.names.delay_stream(&queue),
        };
        self.store(&stream, task_message(&self.broker.names, admitted, context)).await
    }

    /// Stores the timer of a task's deadline, in the place of any other: a task has one. Nothing may know the task yet.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn timer(&self, id: &TaskId, deadline_ms: i64) -> Result<Stored, PublishError> {
        let names = &self.broker.names;
        self.store(&names.delay_stream(&id.queue()), Timer::new(deadline_ms).message(names, id)).await
    }

    /// The same, in the place of the one with this sequence alone; 0: there is none.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn timer_at(&self, id: &TaskId, deadline_ms: i64, expected: u64) -> Result<Stored, PublishError> {
        let names = &self.broker.names;
        let message = Timer::new(deadline_ms).message(names, id);
        self.store(&names.delay_stream(&id.queue()), Publish { expected_sequence: Some(expected), ..message }).await
    }

    /// Stores a timer that has fired once more, to fire again at that time. Only where the task has none by now: another is
    /// later than this one, and stays.
    ///
    /// # Errors
    /// [`PublishError::Lost`] when it has one; otherwise see [`PublishError`].
    pub(crate) async fn timer_again(&self, id: &TaskId, timer: Timer, fires_ms: i64) -> Result<Stored, PublishError> {
        let names = &self.broker.names;
        let message = Publish { expected_sequence: Some(0), ..timer.message_at(names, id, fires_ms) };
        self.store(&names.delay_stream(&id.queue()), message).await
    }

    /// The same as [`timer`](Self::timer) where another submit of the task may have stored it. All of them go by the
    /// deadline that the key's record has; so a timer for another time was left by an earlier task of this key, which has
    /// ended, and is replaced. Gives the sequence of what was stored, and nothing where another's timer is gone by.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn shared_timer(&self, id: &TaskId, deadline_ms: i64) -> Result<Option<u64>, NoTimer> {
        let names = &self.broker.names;
        let stream = names.delay_stream(&id.queue());
        let mut message = Timer::new(deadline_ms).message(names, id);
        for _ in 0..IN_FLIGHT_TRIES_MAX {
            let there = read::last_on_subject(&self.broker, &stream, &message.subject).await?;
            // One that was set long ago says that its task was stored long ago, which it was not.
            let is_new = |set_ms: i64| now_ms().saturating_sub(set_ms) < TIMER_NEW_MS;
            let is_same = |there: Timer| there.deadline_ms == deadline_ms && there.set_ms.is_some_and(is_new);
            if there.as_ref().and_then(|there| Timer::read(&there.headers)).is_some_and(is_same) {
                return Ok(None);
            }
            message.expected_sequence = Some(there.map_or(0, |there| there.sequence));
            match self.store(&stream, message.clone()).await {
                Err(PublishError::Lost) => {}
                stored => return Ok(stored.map(|stored| Some(stored.sequence))?),
            }
        }
        Err(PublishError::InFlight.into())
    }

    /// Publishes; waits while a write to the same subject is under way, which is neither a success nor a loss.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(crate) async fn store(&self, stream: &str, message: Publish) -> Result<Stored, PublishError> {
        let pipeline = self.pipeline(stream);
        for _ in 1..IN_FLIGHT_TRIES_MAX {
            match pipeline.publish(message.clone()).await {
                Err(PublishError::InFlight) => tokio::time::sleep(IN_FLIGHT_PAUSE).await,
                outcome => return outcome,
            }
        }
        pipeline.publish(message).await
    }

    fn pipeline(&self, stream: &str) -> Pipeline {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.entry(stream.to_owned()).or_insert_with(|| Pipeline::start(&self.broker)).clone()
    }
}

/// For how long a timer is taken for that of a submit which is under way.
const TIMER_NEW_MS: i64 = 5_000;

/// The timer of a deadline, also once it has fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) deadline_ms: i64,
    /// When it was set; nothing in those of earlier versions.
    pub(crate) set_ms: Option<i64>,
    /// Whether it has fired before, and nobody knew the task.
    pub(crate) has_looked: bool,
}

impl Timer {
    fn new(deadline_ms: i64) -> Self {
        Self { deadline_ms, set_ms: Some(now_ms()), has_looked: false }
    }

    /// Nothing where the headers are not those of a timer.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let ms = |name: &str| headers.get(name)?.as_str().parse().ok();
        let has_looked = headers.get(header::LOOKED).is_some();
        Some(Self { deadline_ms: ms(header::DEADLINE_MS)?, set_ms: ms(header::SET_MS), has_looked })
    }

    fn message(self, names: &Names, id: &TaskId) -> Publish {
        self.message_at(names, id, self.deadline_ms)
    }

    /// It has no message id: a redrive stores another one for the same task.
    fn message_at(self, names: &Names, id: &TaskId, fires_ms: i64) -> Publish {
        let mut message = Publish::new(names.delay_deadline(id), Bytes::new());
        message.headers.insert(header::DEADLINE_MS, self.deadline_ms.to_string());
        if let Some(set_ms) = self.set_ms {
            message.headers.insert(header::SET_MS, set_ms.to_string());
        }
        if self.has_looked {
            message.headers.insert(header::LOOKED, "1");
        }
        message.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(fires_ms)));
        message.headers.insert(header::SCHEDULE_TARGET, names.delay_expired(id));
        message
    }
}

/// Why a timer is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTimer {
    /// It cannot be seen whether it is there.
    #[error(transparent)]
    Unread(#[from] ReadError),
    /// It was refused, or nobody knows.
    #[error(transparent)]
    Refused(#[from] PublishError),
}

impl NoTimer {
    /// What the caller of the submit is told: the task comes after its timer, so it is not stored.
    pub(crate) fn error(self) -> ApiError {
        match self {
            Self::Unread(error) => error.into(),
            Self::Refused(PublishError::Unanswered | PublishError::InFlight) => {
                let detail = "the broker did not answer in time; nothing was accepted";
                ApiError::new(Code::BrokerUnavailable, detail).retry_after_ms(BROKER_RETRY_AFTER_MS)
            }
            Self::Refused(error) => error.into(),
        }
    }
}

/// What a caller is told of a task that could not be stored.
pub(crate) fn refused(error: PublishError, id: &TaskId) -> ApiError {
    match error {
        PublishError::Unanswered | PublishError::InFlight => {
            let detail = "the broker did not answer in time; the task may have been accepted: look for it by its id, \
                          or repeat the submit with the same idempotency key";
            ApiError::new(Code::BrokerUnavailable, detail).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(id)
        }
        other => other.into(),
    }
}

/// The first copy of a task.
fn task_message(names: &Names, admitted: &Admitted, context: &Context) -> Publish {
    let Admitted { id, lane, start, identity, turn, trace, envelope, .. } = admitted;
    let due_ms = match start {
        Start::Now => envelope.submitted_at_ms,
        Start::At(at_ms) => *at_ms,
    };
    let keyed = identity.is_kept();
    let generation = Generation { run: turn.run, ..Generation::FIRST };
    let copy = CopyHeaders {
        generation,
        result_sequence: turn.result_sequence,
        check: keyed,
        schema: envelope.schema.clone(),
        schema_backs: 0,
        due_ms,
        trace: *trace,
    };
    let subject = match start {
        Start::Now => names.task(id, *lane),
        Start::At(_) => names.delay_at(id),
    };
    let mut message = Publish::new(subject, Bytes::from(envelope.encode_to_vec()));
    for (name, value) in copy.pairs() {
        message.headers.insert(name, value);
    }
    if let Start::At(at_ms) = start {
        message.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(*at_ms)));
        message.headers.insert(header::SCHEDULE_TARGET, names.delay_due(id, *lane));
    }
    trace::inject(context, &mut message.headers);
    message.message_id = Some(generation.message_id(id));
    message.expected_sequence = keyed.then_some(0);
    message
}
