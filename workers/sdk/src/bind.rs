//! Finds the queue and registers the kind.
//!
//! A worker creates nothing: streams, their limits and their replicas are an operator's decision, and a worker that
//! came up first would make it with defaults. So it waits, and says what to do.

use std::time::Duration;

use workfleet_link::broker::Broker;
use workfleet_link::kinds::{self, KindError};
use workfleet_link::read::{self, ReadError};
use workfleet_proto::id::QueueName;
use workfleet_proto::schema::KindSchema;
use workfleet_proto::v1::QueueSettings;

use crate::health::Health;
use crate::runtime::Kind;
use crate::worker::RunError;

/// First and longest wait between two looks.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Looks between two log lines, about half a minute.
const LOOKS_PER_LOG: u32 = 15;

/// What a worker must know before it takes a task.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) settings: QueueSettings,
    /// The schema that the worker was built with.
    pub(crate) contract: KindSchema,
}

/// Waits for the queue, then registers the kind.
pub(crate) async fn bind(broker: &Broker, queue: &QueueName, kind: Kind, health: &Health) -> Result<Bound, RunError> {
    let mut looks = 0;
    loop {
        match try_bind(broker, queue, kind).await? {
            Ok(bound) => return Ok(bound),
            Err(reason) => {
                if looks % LOOKS_PER_LOG == 0 {
                    tracing::warn!(%queue, reason, "waiting for the queue; `workfleet provision` makes it");
                }
                health.waiting(reason);
            }
        }
        tokio::time::sleep((WAIT_MIN * (1 << looks.min(8))).min(WAIT_MAX)).await;
        looks += 1;
    }
}

/// The inner error is what to wait for, the outer one what waiting does not change.
async fn try_bind(broker: &Broker, queue: &QueueName, kind: Kind) -> Result<Result<Bound, String>, RunError> {
    let settings = match read::queue_settings(broker, queue).await {
        Ok(Some(settings)) => settings,
        Ok(None) => return Ok(Err(format!("there is no queue {queue}"))),
        Err(ReadError::Garbled { place, reason }) => {
            return Err(RunError::Register(KindError::Read(ReadError::Garbled { place, reason })));
        }
        Err(error) => return Ok(Err(error.to_string())),
    };
    let contract =
        KindSchema::read(kind.descriptors, kind.service).map_err(|error| RunError::Register(error.into()))?;
    match kinds::join(broker, queue, kind.service, kind.descriptors).await {
        Ok(_) => Ok(Ok(Bound { settings, contract })),
        Err(error @ KindError::Schema(_)) => Err(RunError::Register(error)),
        Err(error) => Ok(Err(error.to_string())),
    }
}
