//! The dispatcher without a port: what HTTP and gRPC call, and what any service can use in its own process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use workfleet_link::broker::{Broker, BrokerConfig, BrokerError};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::schema::KindSchema;

use crate::admit::{Parent, Submit};
use crate::blobs::Reads;
use crate::call::{self, Call, Called};
use crate::due;
use crate::error::{ApiError, Code, unavailable};
use crate::expire;
use crate::kinds::{Kinds, Queue};
use crate::large::{Held, Large};
use crate::limits::{BULK_CANCELS_MAX, CALLS_MAX, CANCELS_MAX, LISTS_MAX, WAIT_MAX, WAITS_MAX, WATCHES_MAX};
use crate::list::ListTasks;
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::publish::Publisher;
use crate::room::Room;
use crate::state;
use crate::unsent::Unsent;
use crate::view::{Cursor, QueueList, QueueView, ScaleView, TaskList, TaskView, UnixMs};
use crate::watch::{self, Watch};

/// Takes tasks and says what became of them. Cheap to clone.
///
/// Whoever calls attaches its trace context as OpenTelemetry's current one; it travels with the task.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

/// What the stations work with.
pub(crate) struct Inner {
    pub(crate) broker: Broker,
    pub(crate) kinds: Kinds,
    pub(crate) publisher: Publisher,
    pub(crate) room: Room,
    pub(crate) metrics: Metrics,
    pub(crate) operations: Operations,
    pub(crate) large: Large,
    pub(crate) unsent: Unsent,
    pub(crate) reads: Reads,
    pub(crate) calls: Semaphore,
    pub(crate) waits: Semaphore,
    pub(crate) lists: Semaphore,
    pub(crate) cancels: Arc<Semaphore>,
    pub(crate) bulk_cancels: Arc<Semaphore>,
    pub(crate) watches: Arc<Semaphore>,
}

/// What a submit came to.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The task; ended, if it was waited for and ended in time.
    pub task: TaskView,
    /// Until when its idempotency key is remembered; only with a key.
    pub key_expires_at: Option<UnixMs>,
    /// Whether an earlier submit with the same key had stored it; it may have ended since.
    pub is_repeat: bool,
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
        Ok(Self::new(Broker::connect(config).await?))
    }

    /// A dispatcher on a connection that is there already. To be called inside a tokio runtime.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        let inner = Inner {
            kinds: Kinds::new(broker.clone()),
            publisher: Publisher::new(broker.clone()),
            room: Room::new(broker.clone()),
            metrics: Metrics::new(),
            operations: Operations::new(broker.clone()),
            large: Large::new(),
            unsent: Unsent::new(),
            reads: Reads::new(),
            calls: Semaphore::new(CALLS_MAX),
            waits: Semaphore::new(WAITS_MAX),
            lists: Semaphore::new(LISTS_MAX),
            cancels: Arc::new(Semaphore::new(CANCELS_MAX)),
            bulk_cancels: Arc::new(Semaphore::new(BULK_CANCELS_MAX)),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            broker,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Stores a task; with [`Submit::wait`], waits for its end for so long.
    ///
    /// # Errors
    /// When it is refused, or may not have been stored.
    pub async fn submit(&self, submit: Submit) -> Result<Submitted, ApiError> {
        // On the heap: it is the largest part of whatever awaits it.
        Box::pin(self.submit_held(submit, self.inner.large.hold_nothing())).await
    }

    /// The same for a payload that has a share of the memory, which is given back before the wait.
    pub(crate) async fn submit_held(&self, submit: Submit, held: Held) -> Result<Submitted, ApiError> {
        let wait = submit.wait.map(|time| time.min(WAIT_MAX));
        // What has no share of the large ones' memory has one of the others'.
        let share = held.is_nothing().then(|| self.inner.unsent.hold(submit.payload.len())).transpose()?;
        let (queue, mut submitted) = self.inner.submit(submit, None).await?;
        drop((held, share));
        if let Some(time) = wait.filter(|time| !time.is_zero() && !submitted.task.is_end()) {
            submitted.task = self.inner.wait_a_while(&queue, submitted.task, time).await;
        }
        Ok(submitted)
    }

    /// Stores a task for another process of the fleet; with a parent, as its child. No other way leads to a parent.
    pub(crate) async fn submit_of_fleet(&self, submit: Submit, parent: Option<&Parent>) -> Result<TaskView, ApiError> {
        let _share = self.inner.unsent.hold(submit.payload.len())?;
        let (_, submitted) = self.inner.submit(submit, parent).await?;
        Ok(submitted.task)
    }

    /// Where a task is.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn get(&self, id: &TaskId) -> Result<TaskView, ApiError> {
        let queue = self.inner.queue_of(id).await?;
        self.inner.found(&queue, id).await
    }

    /// Waits until a task has ended, `time` (60 s at most); gives the task as it is then.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn wait(&self, id: &TaskId, time: Duration) -> Result<TaskView, ApiError> {
        let queue = self.inner.queue_of(id).await?;
        let view = self.inner.found(&queue, id).await?;
        if view.is_end() {
            return Ok(view);
        }
        Ok(self.inner.wait_a_while(&queue, view, time.min(WAIT_MAX)).await)
    }

    /// A task from now on, until it has ended. After `after`, where a reader has been before.
    ///
    /// # Errors
    /// When nobody knows it.
    pub async fn watch(&self, id: &TaskId, after: Option<Cursor>) -> Result<Watch, ApiError> {
        let permit = Arc::clone(&self.inner.watches).try_acquire_owned().map_err(|_| {
            ApiError::new(Code::RateLimited, "too many readers of events at once").retry_after_ms(1_000)
        })?;
        let queue = self.inner.queue_of(id).await?;
        watch::watch(Arc::clone(&self.inner), queue, id.clone(), after, permit).await
    }

    /// Asks a worker directly.
    ///
    /// # Errors
    /// When no worker answers in time, or the handler fails.
    pub async fn call(&self, call: Call) -> Result<Called, ApiError> {
        call::call(&self.inner, call).await
    }

    /// All queues. One whose streams do not answer hides no other.
    ///
    /// # Errors
    /// When the broker does not answer for any of them.
    pub async fn queues(&self) -> Result<QueueList, ApiError> {
        self.inner.connected()?.queue_list().await
    }

    /// One queue.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn queue(&self, name: &str) -> Result<QueueView, ApiError> {
        let queue = self.inner.connected()?.kinds.queue(name).await?;
        self.inner.queue_view(&queue).await
    }

    /// A page of a queue's tasks, without their outputs. It may be short, or empty, and have a next one: each page
    /// costs a bounded number of reads. Tasks that move while somebody pages may be seen twice, or not at all.
    ///
    /// # Errors
    /// When there is no such queue, or the question cannot be understood.
    pub async fn tasks(&self, list: &ListTasks) -> Result<TaskList, ApiError> {
        let _turn = self.inner.list_turn()?;
        self.inner.tasks(list).await
    }

    /// What an autoscaler needs to know of a queue.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn scale(&self, name: &str) -> Result<ScaleView, ApiError> {
        let queue = self.inner.connected()?.kinds.queue(name).await?;
        self.inner.scale_view(&queue).await
    }

    /// Every registered kind, for the OpenAPI document.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn kinds(&self) -> Result<Vec<(QueueName, KindSchema)>, ApiError> {
        let names = self.inner.connected()?.kinds.names().await?;
        let kinds = &self.inner.kinds;
        let queues = names.iter().map(|name| async { unless_retired(kinds.queue(name.as_str()).await) });
        let queues = try_join_all(queues).await?;
        Ok(queues
            .iter()
            .flatten()
            .filter_map(|queue| Some((queue.name.clone(), queue.kind.as_ref()?.schema.clone())))
            .collect())
    }

    /// Carries tasks that are due into their queues, until `stop`: what each process that serves does beside its ports. A
    /// service with a dispatcher in its own process leaves it to those, or does it too; somebody has to.
    pub async fn carry(&self, stop: CancellationToken) {
        due::serve(self.clone(), stop).await;
    }

    /// Ends tasks whose deadlines have passed, until `stop`: what each process that serves does beside its ports. A service
    /// with a dispatcher in its own process leaves it to those, or does it too.
    pub async fn expire(&self, stop: CancellationToken) {
        expire::serve(self.clone(), stop).await;
    }

    /// The connection, for what else a service does with it.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
}

/// A queue may go between the read of its name and that of its settings.
fn unless_retired<T>(queue: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match queue {
        Err(error) if error.code == Code::UnknownQueue => Ok(None),
        queue => queue.map(Some),
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl Inner {
    /// Nobody is kept waiting for a question that cannot be asked.
    pub(crate) fn connected(&self) -> Result<&Self, ApiError> {
        if self.broker.is_connected() { Ok(self) } else { Err(unavailable("the broker cannot be reached".to_owned())) }
    }

    /// A place among those who list.
    pub(crate) fn list_turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.lists
            .try_acquire()
            .map_err(|_| ApiError::new(Code::RateLimited, "too many lists of tasks at once").retry_after_ms(1_000))
    }

    /// The queue that an id names.
    pub(crate) async fn queue_of(&self, id: &TaskId) -> Result<Arc<Queue>, ApiError> {
        self.connected()?.kinds.queue(id.queue_str()).await.map_err(|error| match error.code {
            // Where there is no queue there is no task; the caller asked for the task.
            Code::UnknownQueue => state::unknown_task(id),
            _ => error,
        })
    }
}
