//! The dispatcher without a port: what HTTP and gRPC call, and what any service can use in its own process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use workfleet_link::broker::{Broker, BrokerConfig, BrokerError};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::schema::KindSchema;

use crate::admit::Submit;
use crate::call::{Call, Called};
use crate::error::ApiError;
use crate::view::{Cursor, QueueList, QueueView, ScaleView, TaskView, UnixMs};
use crate::watch::Watch;

/// Takes tasks and says what became of them. Cheap to clone.
///
/// Whoever calls attaches its trace context as OpenTelemetry's current one; it travels with the task.
#[derive(Clone)]
pub struct Dispatcher {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) broker: Broker,
}

/// What a submit came to.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The task; ended, if it was waited for and ended in time.
    pub task: TaskView,
    /// Until when its idempotency key is remembered; only with a key.
    pub key_expires_at: Option<UnixMs>,
}

/// The output of a completed task or of a call.
#[derive(Debug, Clone)]
pub struct Output {
    /// The kind's output message, encoded.
    pub protobuf: Bytes,
    /// The same as JSON.
    pub json: Box<RawValue>,
}

impl Dispatcher {
    /// Connects to the broker.
    ///
    /// # Errors
    /// When no broker can be reached.
    pub async fn connect(config: &BrokerConfig) -> Result<Self, BrokerError> {
        todo!()
    }

    /// Stores a task; with [`Submit::wait`], waits for its end for so long.
    ///
    /// # Errors
    /// When it is refused, or may not have been stored.
    pub async fn submit(&self, submit: Submit) -> Result<Submitted, ApiError> {
        todo!()
    }

    /// Where a task is.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn get(&self, id: &TaskId) -> Result<TaskView, ApiError> {
        todo!()
    }

    /// Waits until a task has ended, `time` at most; gives the task as it is then.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn wait(&self, id: &TaskId, time: Duration) -> Result<TaskView, ApiError> {
        todo!()
    }

    /// A task from now on, until it has ended. After `after`, where a reader has been before.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn watch(&self, id: &TaskId, after: Option<Cursor>) -> Result<Watch, ApiError> {
        todo!()
    }

    /// The output of a completed task.
    ///
    /// # Errors
    /// When there is none, or not yet.
    pub async fn result(&self, id: &TaskId) -> Result<Output, ApiError> {
        todo!()
    }

    /// Asks a worker directly.
    ///
    /// # Errors
    /// When no worker answers in time, or the handler fails.
    pub async fn call(&self, call: Call) -> Result<Called, ApiError> {
        todo!()
    }

    /// All queues.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queues(&self) -> Result<QueueList, ApiError> {
        todo!()
    }

    /// One queue.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn queue(&self, name: &str) -> Result<QueueView, ApiError> {
        todo!()
    }

    /// What an autoscaler needs to know of a queue.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn scale(&self, name: &str) -> Result<ScaleView, ApiError> {
        todo!()
    }

    /// Every registered kind, for the OpenAPI document.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn kinds(&self) -> Result<Vec<(QueueName, KindSchema)>, ApiError> {
        todo!()
    }

    /// The connection, for what else a service does with it.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.inner.broker
    }
}
