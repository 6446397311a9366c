//! Runs a handler behind a fence: its panics, its time and its end are this file's.
//!
//! A handler that is to stop is told first and dropped later. One whose task was cancelled, or has expired, gets the queue's
//! `cancel_grace` to clean up; one whose process drains gets a second; one that has used up its timeout gets nothing more.
//!
//! The handler runs on its author's runtime, its clock on the io runtime; so a handler that blocks a thread cannot stop
//! its own time-out. What cannot be done to a blocked thread is to end it. Such a handler keeps its slot until it
//! returns, and a process whose slots are all kept so is of no use and ends itself.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry::Context as TraceContext;
use opentelemetry::context::FutureExt as _;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::context::{Context, Given};
use crate::halts::Hold;
use crate::outcome::{Delivery, Outcome};
use crate::slots::Slot;
use crate::station::Station;

/// How long a handler that is told to stop may take to clean up.
pub(crate) const CLEAN_UP_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the runtime may take to drop a handler's future.
const ABORT_TIME_MAX: Duration = Duration::from_millis(500);
/// How often a slot that is kept is looked at.
const KEPT_INTERVAL: Duration = Duration::from_millis(250);

/// How a handler ended.
#[derive(Debug)]
pub(crate) enum Ran {
    /// By itself.
    Ended(Outcome),
    /// By a panic, with this message.
    Panicked(String),
    /// It took too long.
    TimedOut,
    /// The process drains and waits no longer.
    Cut,
    /// Its task is said to have been halted. With the outcome, if the handler has completed all the same.
    Halted(Option<Outcome>),
    /// The deadline of its task has passed.
    Expired,
}

/// What else may end an attempt at a task. A direct call has none of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outside<'a> {
    pub(crate) hold: &'a Hold,
    /// Whether the task's deadline comes no later than the attempt's timeout.
    pub(crate) expires: bool,
}

/// A handler about to start.
pub(crate) struct Handling {
    context: Context,
    cancelled: CancellationToken,
    slot: Arc<Slot>,
    deadline: Instant,
}

impl Handling {
    /// `given` is completed with the parts that this file owns.
    pub(crate) fn new(slot: &Arc<Slot>, given: impl FnOnce(CancellationToken, Weak<Slot>) -> Given) -> Self {
        // A level of its own: the attempt may keep the slot for longer than the handler does.
        let slot = Arc::new(Slot::shared(Arc::clone(slot)));
        let cancelled = CancellationToken::new();
        let given = given(cancelled.clone(), Arc::downgrade(&slot));
        let deadline = given.deadline;
        Self { context: Context::new(given), cancelled, slot, deadline }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Runs the handler to whatever end.
    pub(crate) async fn run(
        self,
        station: &Arc<Station>,
        payload: Bytes,
        trace: TraceContext,
        outside: Option<Outside<'_>>,
    ) -> Ran {
        let Self { context, cancelled, slot, deadline } = self;
        if outside.is_some_and(|outside| outside.hold.is_told()) {
            return Ran::Halted(None);
        }
        // For log lines alone; the trace has its own span, and link's trace layer leaves this target out.
        let task_id = context.task_id().clone();
        let span = tracing::info_span!(
            target: "workfleet_sdk::log", "task", workfleet.task.id = %task_id, workfleet.task.attempt = context.attempt()
        );
        let delivery = Delivery { context, payload };
        let attempt = station.service.clone().oneshot(delivery).instrument(span).with_context(trace);
        let _working = station.slots.working();
        let mut running = station.handlers.spawn(attempt);
        let stopped = tokio::select! {
            ended = &mut running => {
                keep_watch(station, slot, None, deadline);
                return Ran::from(ended);
            }
            () = told(outside) => Ran::Halted(None),
            () = tokio::time::sleep_until(deadline.into()) => match outside {
                Some(Outside { expires: true, .. }) => Ran::Expired,
                _ => Ran::TimedOut,
            },
            () = station.drain.cut.cancelled() => Ran::Cut,
        };
        cancelled.cancel();
        let outcome = stop(station, &mut running, stopped.patience(station)).await;
        // Work that blocks may go on for as long as it could have without the word, before its slot counts as lost.
        let lost_at = if matches!(stopped, Ran::Halted(_)) { deadline.max(Instant::now()) } else { Instant::now() };
        keep_watch(station, slot, Some(running), lost_at);
        match (stopped, outcome) {
            (Ran::Halted(_), outcome) => Ran::Halted(outcome),
            // Nobody wants an output any more, and the record says so already or is about to.
            (Ran::Expired, _) => Ran::Expired,
            (_, Some(outcome)) => Ran::Ended(outcome),
            (stopped, None) => stopped,
        }
    }
}

/// Waits until somebody says that the task has been halted.
async fn told(outside: Option<Outside<'_>>) {
    match outside {
        Some(outside) => outside.hold.told().await,
        None => std::future::pending().await,
    }
}

impl Ran {
    /// How long a handler that is stopped for this reason may take to clean up.
    fn patience(&self, station: &Station) -> Duration {
        match self {
            Self::Halted(_) | Self::Expired => station.cancel_grace(),
            Self::Cut => CLEAN_UP_TIME_MAX,
            // It has had its time.
            Self::Ended(_) | Self::Panicked(_) | Self::TimedOut => Duration::ZERO,
        }
    }
}

impl From<Result<Result<Outcome, Infallible>, JoinError>> for Ran {
    fn from(ended: Result<Result<Outcome, Infallible>, JoinError>) -> Self {
        match ended {
            Ok(Ok(outcome)) => Self::Ended(outcome),
            Err(error) if error.is_panic() => Self::Panicked(panic_message(&*error.into_panic())),
            // The handlers' runtime is being shut down.
            Err(_) => Self::Cut,
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the handler panicked").to_owned()
}

/// Stops a handler, and gives its outcome if it completes after all. It may take so long, but no longer than a process that
/// drains waits.
async fn stop(
    station: &Station,
    running: &mut JoinHandle<Result<Outcome, Infallible>>,
    patience: Duration,
) -> Option<Outcome> {
    let completed = |ended| match ended {
        Ok(Ok(outcome @ Outcome::Completed(_))) => Some(outcome),
        _ => None,
    };
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(patience) => {}
            () = station.drain.cut.cancelled() => tokio::time::sleep(patience.min(CLEAN_UP_TIME_MAX)).await,
        }
    };
    tokio::select! {
        biased;
        ended = &mut *running, if !patience.is_zero() => return completed(ended),
        () = over => {}
    }
    running.abort();
    if running.is_finished() {
        return None;
    }
    tokio::time::timeout(ABORT_TIME_MAX, running).await.ok().and_then(completed)
}

/// Watches a handler's slot if something still keeps it: the handler itself, or its blocking work. From `since` on the
/// slot counts as stuck.
fn keep_watch(
    station: &Arc<Station>,
    slot: Arc<Slot>,
    running: Option<JoinHandle<Result<Outcome, Infallible>>>,
    since: Instant,
) {
    let running = running.filter(|running| !running.is_finished());
    let kept = Arc::downgrade(&slot);
    let count = slot.count();
    match running {
        Some(running) => drop(tokio::spawn(async move {
            let _slot = slot;
            // However it ends, its attempt is settled already.
            let _ = running.await;
        })),
        None => drop(slot),
    }
    if kept.strong_count() > 0 {
        let station = Arc::clone(station);
        let working = station.slots.working();
        tokio::spawn(async move {
            tokio::time::sleep_until(since.into()).await;
            drop(working);
            if kept.strong_count() > 0 {
                stuck(&station, &kept, count).await;
            }
        });
    }
}

async fn stuck(station: &Station, kept: &Weak<Slot>, count: u32) {
    let _stuck = station.slots.stuck(count);
    tracing::error!(queue = %station.queue, "a handler does not stop; its slot is lost until it does");
    if station.slots.all_stuck() {
        tracing::error!(queue = %station.queue, "no handler stops; the process ends itself");
        station.drain.lost.cancel();
    }
    while kept.strong_count() > 0 {
        tokio::time::sleep(KEPT_INTERVAL).await;
    }
}
