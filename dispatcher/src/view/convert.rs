//! The views as messages of `workfleet.v1`.

use prost_types::Timestamp;
use workfleet_proto::v1;

use super::{AttemptView, FailureView, ProgressView, QueueView, ScaleView, TaskView, UnixMs, WorkerView};

impl From<UnixMs> for Timestamp {
    fn from(time: UnixMs) -> Self {
        let nanos = i32::try_from(time.0.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
        Self { seconds: time.0.div_euclid(1_000), nanos }
    }
}

impl From<TaskView> for v1::Task {
    fn from(view: TaskView) -> Self {
        Self {
            id: view.id,
            queue: view.queue,
            state: view.state.0.into(),
            attempt: view.attempt,
            attempts_max: view.attempts_max,
            priority: view.priority,
            submitted_at: view.submitted_at.map(Into::into),
            not_before: view.not_before.map(Into::into),
            started_at: view.started_at.map(Into::into),
            ended_at: view.ended_at.map(Into::into),
            deadline: view.deadline.map(Into::into),
            progress: view.progress.map(Into::into),
            output: view.output_bytes,
            output_json: view.output.map(|output| output.get().to_owned()),
            failure: view.failure.map(|failure| v1::Failure { code: failure.code, message: failure.message }),
            attempts: view.attempts.into_iter().map(Into::into).collect(),
            trace_id: view.trace_id.unwrap_or_default(),
            parent_id: view.parent_id,
            labels: view.labels.into_iter().collect(),
            ordering_key: view.ordering_key,
            tenant: view.tenant,
            cursor: view.cursor.to_string(),
            children: view.children,
            output_blob: view.output_blob,
        }
    }
}

impl From<ProgressView> for v1::Progress {
    fn from(view: ProgressView) -> Self {
        Self { percent: view.percent, message: view.message }
    }
}

impl From<v1::Progress> for ProgressView {
    fn from(progress: v1::Progress) -> Self {
        Self { percent: progress.percent, message: progress.message }
    }
}

impl From<AttemptView> for v1::AttemptInfo {
    fn from(view: AttemptView) -> Self {
        Self {
            attempt: view.attempt,
            started_at: view.started_at.map(Into::into),
            ended_at: view.ended_at.map(Into::into),
            worker: view.worker.unwrap_or_default(),
            code: view.code,
            message: view.message,
        }
    }
}

impl From<v1::Attempt> for AttemptView {
    fn from(attempt: v1::Attempt) -> Self {
        // What a lost worker has left says neither when nor where.
        let known = |at_ms: i64| (at_ms > 0).then_some(UnixMs(at_ms));
        Self {
            attempt: attempt.attempt,
            started_at: known(attempt.started_at_ms),
            ended_at: known(attempt.ended_at_ms),
            worker: Some(attempt.worker).filter(|worker| !worker.is_empty()),
            code: attempt.code,
            message: attempt.message,
        }
    }
}

impl FailureView {
    /// A failure with the attempts that led to it.
    #[must_use]
    pub fn of(failure: v1::Failure, attempts: &[AttemptView]) -> Self {
        Self { code: failure.code, message: failure.message, attempts: attempts.to_vec() }
    }
}

impl From<QueueView> for v1::Queue {
    fn from(view: QueueView) -> Self {
        let (input, output) = view.kind.map(|kind| (kind.input, kind.output)).unwrap_or_default();
        Self {
            name: view.name,
            paused: view.paused,
            waiting: view.waiting,
            running: view.running,
            scheduled: view.scheduled,
            dead: view.dead,
            oldest_waiting_ms: view.oldest_waiting_ms,
            workers: view.workers.into_iter().map(Into::into).collect(),
            input,
            output,
        }
    }
}

impl From<WorkerView> for v1::WorkerInfo {
    fn from(view: WorkerView) -> Self {
        Self {
            id: view.id,
            host: view.host,
            version: view.version,
            slots: view.slots,
            busy: view.busy,
            started_at: Some(view.started_at.into()),
        }
    }
}

impl From<ScaleView> for v1::ScaleReply {
    fn from(view: ScaleView) -> Self {
        Self { value: view.value, waiting: view.waiting, running: view.running, due: view.due }
    }
}
