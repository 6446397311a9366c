//! What a handler knows of its attempt, and what it can say and ask meanwhile.

mod given;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::Context as TraceContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::{PROGRESS_MESSAGE_BYTES_MAX, cut};
use workfleet_proto::v1::Progress;

use crate::child::Family;
use crate::reach::Reach;
use crate::slots::Slot;
use crate::station::duration_ms;

pub(crate) use given::{Facts, Given, Origin, Said};

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
    run: u32,
    submitted_at: SystemTime,
    labels: HashMap<String, String>,
    /// `None` for a direct call, which has no task and so no children.
    family: Option<Family>,
    reach: Reach,
    /// Read by the attempt's events; the latest wins, so that a chatty handler waits for nobody.
    said: watch::Sender<Said>,
    /// Kept alive by the runtime for as long as the attempt holds its slot.
    slot: Weak<Slot>,
}

impl Context {
    pub(crate) fn new(given: Given) -> Self {
        let Given { task_id, attempt, attempts_max, deadline, cancelled, slot, origin, reach } = given;
        let mut context = Attempt {
            run: 1,
            submitted_at: reach.now(),
            labels: HashMap::new(),
            family: None,
            said: watch::Sender::default(),
            task_id,
            attempt,
            attempts_max,
            deadline,
            cancelled,
            reach,
            slot,
        };
        if let Origin::Task(facts) = origin {
            let Facts { run, submitted_at_ms, deadline_ms, labels, children } = facts;
            context.run = run;
            context.submitted_at = UNIX_EPOCH + duration_ms(submitted_at_ms);
            context.labels = labels;
            context.family = Some(Family::new(context.task_id.clone(), run, deadline_ms, &children));
            context.said = watch::Sender::new(Said { progress: None, children });
        }
        Self { attempt: Arc::new(context) }
    }

    pub(crate) fn said(&self) -> watch::Receiver<Said> {
        self.attempt.said.subscribe()
    }

    pub(crate) fn family(&self) -> Option<&Family> {
        self.attempt.family.as_ref()
    }

    /// Whether a dispatcher has accepted the child, in this attempt or in an earlier one that told of it.
    pub(crate) fn knows_child(&self, child: &TaskId) -> bool {
        self.attempt.said.borrow().children.contains(child)
    }

    pub(crate) fn has_child(&self, child: &TaskId) {
        self.attempt.said.send_if_modified(|said| {
            let new = !said.children.contains(child);
            if new {
                said.children.push(child.clone());
            }
            new
        });
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.attempt.reach
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

    /// Which run this is, from 1: a dead letter that is redriven begins another.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.attempt.run
    }

    /// When the task was submitted, by the dispatcher's clock; a direct call, when it arrived.
    #[must_use]
    pub fn submitted_at(&self) -> SystemTime {
        self.attempt.submitted_at
    }

    /// The pairs that were given with the submit.
    ///
    /// ```
    /// use workfleet_sdk::testing::Bench;
    /// let ctx = Bench::new().label("team", "billing").context();
    /// assert_eq!(ctx.labels().get("team").map(String::as_str), Some("billing"));
    /// ```
    #[must_use]
    pub fn labels(&self) -> &HashMap<String, String> {
        &self.attempt.labels
    }

    /// The time of day. A handler that asks here instead of the system can be [tested](crate::testing::Bench::at) at
    /// any time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.attempt.reach.now()
    }

    /// How much time is left until the [`deadline`](Self::deadline), for the time-outs of what the handler asks others.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        // The clock that tests can pause.
        tokio::time::Instant::from_std(self.attempt.deadline).saturating_duration_since(tokio::time::Instant::now())
    }

    /// When this attempt is told to stop: at its timeout, or at the task's deadline if that comes first.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline
    }

    /// Waits until this attempt should stop: its task was cancelled, its time is up, or the process drains and waits no
    /// longer. Of use to a handler that has something to clean up; any other is simply dropped. After a cancel, and at the
    /// task's deadline, it has the queue's `cancel_grace` for that; when the process drains, a second; after a timeout,
    /// nothing.
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
        let progress = Progress { percent: percent.min(100), message };
        self.attempt.reach.progress(&progress);
        self.attempt.said.send_modify(|said| said.progress = Some(progress));
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
