//! What a handler's context reaches beyond its process: the fleet, or in a test a bench.
//!
//! An enum and no trait: there are two of them, both in this crate, and a trait with async functions would need boxes.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::Context as TraceContext;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::v1::Progress;

use crate::child::{self, Asked};
use crate::error::TaskError;
use crate::station::Station;
use crate::testing::Desk;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The worker's own connection.
    Fleet(Arc<Station>),
    /// What a test has laid out.
    Bench(Arc<Desk>),
}

impl Reach {
    pub(crate) fn fleet(station: &Arc<Station>) -> Self {
        Self::Fleet(Arc::clone(station))
    }

    /// The time of day.
    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Self::Fleet(_) => SystemTime::now(),
            Self::Bench(desk) => desk.now(),
        }
    }

    /// Whether the handler may submit tasks to this queue.
    pub(crate) fn may_submit_to(&self, queue: &QueueName) -> Result<(), TaskError> {
        match self {
            Self::Fleet(station) => child::permitted(&station.settings, queue),
            Self::Bench(desk) => desk.may_submit_to(queue),
        }
    }

    /// Submits a child and gives its id.
    pub(crate) async fn submit(&self, asked: Asked, deadline: Instant) -> Result<TaskId, TaskError> {
        match self {
            Self::Fleet(station) => {
                child::ask(&station.broker, &asked, &TraceContext::current(), deadline.into()).await
            }
            Self::Bench(desk) => desk.submit(asked),
        }
    }

    /// The handler has said how far it is. In a fleet its events read that from the context.
    pub(crate) fn progress(&self, progress: &Progress) {
        match self {
            Self::Fleet(_) => {}
            Self::Bench(desk) => desk.progress(progress),
        }
    }
}
