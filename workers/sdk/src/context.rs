//! What a handler knows of its attempt, and what it can say and ask meanwhile.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use opentelemetry::Context as TraceContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::{PROGRESS_MESSAGE_BYTES_MAX, cut};
use workfleet_proto::v1::Progress;

use crate::slots::Slot;

/// One attempt at a task. Cheap to clone.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let ctx = workfleet_sdk::testing::context();
/// assert_eq!((ctx.attempt(), ctx.is_last_attempt()), (1, false));
/// ctx.progress(40, "decoded");
/// let sum: u64 = ctx.blocking(|| (1..=1_000).sum()).await;
/// assert_eq!(sum, 500_500);
/// # });
/// ```
#[derive(Clone)]
pub struct Context {
    attempt: Arc<Attempt>,
}

/// What is fixed for an attempt.
struct Attempt {
    task_id: TaskId,
    attempt: u32,
    attempts_max: u32,
    deadline: Instant,
    cancelled: CancellationToken,
    /// Read by the attempt's events; the latest wins, so that a chatty handler waits for nobody.
    progress: watch::Sender<Option<Progress>>,
    /// Kept alive by the runtime for as long as the attempt holds its slot.
    slot: Weak<Slot>,
}

/// What the runtime gives a context.
pub(crate) struct Given {
    pub(crate) task_id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) attempts_max: u32,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: CancellationToken,
    pub(crate) slot: Weak<Slot>,
}

impl Context {
    pub(crate) fn new(given: Given) -> Self {
        let Given { task_id, attempt, attempts_max, deadline, cancelled, slot } = given;
        let (progress, _) = watch::channel(None);
        Self { attempt: Arc::new(Attempt { task_id, attempt, attempts_max, deadline, cancelled, progress, slot }) }
    }

    pub(crate) fn progress_said(&self) -> watch::Receiver<Option<Progress>> {
        self.attempt.progress.subscribe()
    }

    /// The task's id. It is the same in every attempt, so it is the idempotency key for calls to others. A direct call
    /// has no task; its context has an id made for it alone.
    #[must_use]
    pub fn task_id(&self) -> &TaskId {
        &self.attempt.task_id
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.attempt
    }

    /// Whether a failure now ends the task. A direct call has one attempt.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.attempt.attempt >= self.attempt.attempts_max
    }

    /// When this attempt is cut off: its timeout, or the task's deadline if that comes first.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline
    }

    /// Waits until this attempt should stop: its time is up, or the process drains and waits no longer. Of use to a
    /// handler that has something to clean up; any other is simply dropped.
    ///
    /// ```
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn fetch(ctx: &Context) -> Result<String, TaskError> {
    ///     tokio::select! {
    ///         page = std::future::ready(Ok("page".to_owned())) => page,
    ///         () = ctx.cancelled() => Err(TaskError::retryable("cancelled", "told to stop")),
    ///     }
    /// }
    /// ```
    pub async fn cancelled(&self) {
        self.attempt.cancelled.cancelled().await;
    }

    /// The same as a question, for loops in [`blocking`](Self::blocking).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancelled.is_cancelled()
    }

    /// Says how far the work has come, for people: `percent` is 0 to 100. It never fails and never waits; of many in
    /// a short time the latest is sent.
    pub fn progress(&self, percent: u32, message: impl Into<String>) {
        let message = message.into();
        let message = cut(&message, PROGRESS_MESSAGE_BYTES_MAX).to_owned();
        self.attempt.progress.send_replace(Some(Progress { percent: percent.min(100), message }));
    }

    /// Runs work that computes for long, or blocks, on a thread for such work, within the trace of this attempt. It
    /// holds the attempt's slot until it has ended, even when the attempt is cut off before.
    ///
    /// # Panics
    /// When `work` panics.
    pub async fn blocking<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let slot = self.attempt.slot.upgrade();
        let trace = TraceContext::current();
        let span = tracing::Span::current();
        let running = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let _trace = trace.attach();
            span.in_scope(work)
        });
        match running.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is being shut down, and this future with it.
            Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task_id", &self.attempt.task_id)
            .field("attempt", &self.attempt.attempt)
            .field("attempts_max", &self.attempt.attempts_max)
            .finish_non_exhaustive()
    }
}
