//! A submit through its stations: kind, admission, room, stream; and, where it is asked for, the wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::State;

use crate::admit::{self, Admitted, Given, Identity, Parent, Start, Submit};
use crate::dispatcher::{Inner, Submitted};
use crate::error::{ApiError, Code};
use crate::idempotency::{self, Keyed};
use crate::kinds::Queue;
use crate::spans;
use crate::state;
use crate::stow::Claim;
use crate::transcode;
use crate::view::{StateWord, TaskView};

impl Inner {
    /// Admits and stores a task; with a parent, as its child.
    ///
    /// # Errors
    /// When it is refused, or may not have been stored.
    pub(crate) async fn submit(
        &self,
        submit: Submit,
        parent: Option<&Parent>,
    ) -> Result<(Arc<Queue>, Submitted), ApiError> {
        let queue = self.connected()?.kinds.queue(&submit.queue).await?;
        if let Some(parent) = parent {
            // On the heap, since most submits have none.
            Box::pin(self.check_parent(parent, &queue)).await?;
        }
        let kind = queue.kind()?;
        let checked = transcode::check(submit.payload, &kind.schema.input, queue.payload_bytes_max())?;
        let given = Given {
            queue: &queue.name,
            settings: &queue.settings,
            schema: kind.schema.hash.as_str(),
            now_ms: now_ms(),
            random: rand::random(),
        };
        let key = submit.idempotency_key.as_deref();
        let mut admitted = admit::admit(key, parent, &submit.options, checked.bytes, &given)?;
        let span =
            spans::publish(&queue.name, &admitted.id, admitted.envelope.payload.len(), &admitted.envelope.labels);
        admitted.envelope.trace_id = trace::trace_id(span.context());
        let began = Instant::now();
        let mut stored = self.store(&queue, &admitted, checked.sha256, span.context()).await;
        if let Ok(submitted) = &stored
            && let Err(error) = self.note_accepted(&queue, &submitted.task).await
        {
            stored = Err(error);
        }
        self.metrics.submitted(&queue.name, began.elapsed(), stored.as_ref().err());
        span.end(stored.as_ref().map(|_| ()));
        stored.map(|submitted| (queue, submitted))
    }

    async fn check_parent(&self, parent: &Parent, queue: &Queue) -> Result<(), ApiError> {
        let theirs = self.kinds.queue(parent.id.queue_str()).await.map_err(|error| match error.code {
            // The queue that was asked for is there.
            Code::UnknownQueue => ApiError::invalid_option("parent.id", error.detail.clone()),
            _ => error,
        })?;
        parent.check_may_submit_to(&queue.name, &theirs.settings)
    }

    async fn store(
        &self,
        queue: &Queue,
        admitted: &Admitted,
        sha256: [u8; 32],
        context: &Context,
    ) -> Result<Submitted, ApiError> {
        self.room.check(queue, admitted).await?;
        match admitted.identity {
            Identity::Fresh => {
                self.stow(queue, admitted, Claim::Ours, context).await.map_err(|error| error.error(admitted))?;
                Ok(Submitted { task: accepted(queue, admitted), key_expires_at: None, is_repeat: false })
            }
            Identity::Keyed | Identity::Ordinal | Identity::Named => {
                let keyed = idempotency::submit(self, queue, admitted, sha256, context).await?;
                let is_repeat = matches!(keyed, Keyed::Repeat(..));
                let (task, until) = match keyed {
                    Keyed::Stored(until) => (accepted(queue, admitted), until),
                    Keyed::Repeat(task, until) => (*task, until),
                };
                Ok(Submitted { task, key_expires_at: Some(until), is_repeat })
            }
        }
    }

    /// The task once it has ended, or as it is after `time`. It is accepted whatever happens here, so nothing here is
    /// an error.
    pub(crate) async fn wait_a_while(&self, queue: &Queue, view: TaskView, time: Duration) -> TaskView {
        let (Ok(_permit), Ok(id)) = (self.waits.try_acquire(), view.id.parse::<TaskId>()) else { return view };
        match self.wait_for_end(queue, &id, time).await {
            Ok(Some(result)) => self.view_of_result(queue, result).await,
            Ok(None) => self.find(queue, &id).await.ok().flatten().unwrap_or(view),
            Err(error) => {
                tracing::warn!(task = %id, %error, "the wait for a task ended early");
                view
            }
        }
    }
}

/// A task that was stored a moment ago.
fn accepted(queue: &Queue, admitted: &Admitted) -> TaskView {
    let mut view = state::of_envelope(queue, &admitted.id, &admitted.envelope, Some(admitted.lane));
    view.state = StateWord(match admitted.start {
        Start::Now => State::Queued,
        Start::At(_) => State::Scheduled,
    });
    view
}
