//! Tasks that a handler submits: the children of its task.
//!
//! A handler may run more than once, so a child's id is made from its parent, the parent's run, and its place among the
//! parent's children: what is submitted again exists already. The place is a number, in the order of the calls, unless
//! the handler names the child. The alternative, an id made from the payload, would make one task of two equal children,
//! and two of one whose payload holds the time.
//!
//! The fleet forgets a child some time after its end, and a parent may wait longer than that between two attempts. So the
//! parent says of which children it knows that they were accepted; those are looked for, and never stored again. Merely
//! to have asked is not to know.
//!
//! A worker stores no child itself. It asks a dispatcher, so that admission, limits and JSON are the same for all who
//! submit.

mod ask;
mod family;

use std::fmt;
use std::time::Duration;

use opentelemetry::Context as TraceContext;
use workfleet_proto::Task;
use workfleet_proto::id::{ChildKey, QueueName, TaskId};
use workfleet_proto::limits::CHILD_NAME_BYTES_MAX;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{FleetSubmit, QueueSettings, SubmitOptions, SubmitRequest};

use crate::context::Context;
use crate::error::TaskError;

pub(crate) use ask::{Asked, Refusal, ask};
pub(crate) use family::{Family, told};

/// Codes of what the SDK itself refuses. What the dispatcher refuses has the dispatcher's codes.
pub(crate) mod code {
    /// A direct call has no task, so it can have no children.
    pub(crate) const NO_PARENT: &str = "no_parent";
    /// The settings of the parent's queue do not list the child's.
    pub(crate) const FORBIDDEN: &str = "forbidden";
    /// More than one run of a task may have.
    pub(crate) const TOO_MANY_CHILDREN: &str = "too_many_children";
    /// The payload does not fit a message to the dispatcher.
    pub(crate) const PAYLOAD_TOO_LARGE: &str = "payload_too_large";
    /// The child's name is empty or too long.
    pub(crate) const INVALID_OPTION: &str = "invalid_option";
    /// The same place was given another payload by an earlier attempt.
    pub(crate) const CHILD_CONFLICT: &str = "child_conflict";
    /// No dispatcher is connected to the broker.
    pub(crate) const NO_DISPATCHER: &str = "no_dispatcher";
    /// A dispatcher was asked, and did not answer.
    pub(crate) const NO_ANSWER: &str = "dispatcher_timeout";
    /// The broker cannot be reached.
    pub(crate) const BROKER_UNAVAILABLE: &str = "broker_unavailable";
    /// What answered is no dispatcher of this version.
    pub(crate) const BAD_ANSWER: &str = "bad_answer";
}

impl Context {
    /// Submits a task as a child of this one and gives its id. The queue is the kind's, and must be listed in the
    /// settings of this task's queue, as `children`.
    ///
    /// The n-th call in one attempt always means the same child: where an earlier attempt has submitted it, it exists,
    /// and there will not be two. So this suits handlers that submit the same tasks in the same order each time; any
    /// other [names](Child::named) its children.
    ///
    /// ```
    /// use workfleet_proto::kinds::webhook::WebhookRequest;
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn tell(ctx: &Context, url: String) -> Result<(), TaskError> {
    ///     let child = ctx.submit(WebhookRequest { url, r#type: "invoice.paid".to_owned(), ..Default::default() }).await?;
    ///     tracing::info!(%child, "will be told");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`Child::submit`].
    pub fn submit<T: Task>(&self, task: T) -> impl Future<Output = Result<TaskId, TaskError>> + Send + use<T> {
        self.child(task).submit()
    }

    /// A child with a name or options; [`Child::submit`] submits it.
    pub fn child<T: Task>(&self, task: T) -> Child<T> {
        Child::new(self.clone(), task)
    }

    async fn submit_asked(&self, asked: Asked) -> Result<TaskId, TaskError> {
        self.reach().may_submit_to(&asked.queue)?;
        if let Some(family) = self.family() {
            family.admit(&asked.id)?;
        }
        let child = self.reach().submit(asked, self.deadline()).await?;
        self.has_child(&child);
        Ok(child)
    }
}

/// A task that a handler is about to submit; [`Context::child`] makes one.
///
/// ```
/// use std::time::Duration;
/// use workfleet_proto::kinds::webhook::WebhookRequest;
/// use workfleet_sdk::{Context, TaskError};
///
/// async fn remind(ctx: &Context, url: String) -> Result<(), TaskError> {
///     let reminder = WebhookRequest { url, r#type: "invoice.due".to_owned(), ..Default::default() };
///     let later = Duration::from_secs(3_600);
///     ctx.child(reminder).named("reminder").delay(later).label("team", "billing").submit().await?;
///     Ok(())
/// }
/// ```
#[must_use = "nothing is submitted before `submit`"]
pub struct Child<T> {
    context: Context,
    task: T,
    name: Option<String>,
    options: SubmitOptions,
}

impl<T: Task> Child<T> {
    pub(crate) fn new(context: Context, task: T) -> Self {
        Self { context, task, name: None, options: SubmitOptions::default() }
    }

    /// Names the child among its parent's, at most 128 bytes. The name takes the place of its number: the order of the
    /// calls does not matter any more, and neither does the payload, for that of the first submit stands. Name a child
    /// when not every attempt submits the same ones in the same order, or when its payload differs from attempt to
    /// attempt.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Starts no sooner than after this time, counted from the first submit.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay_ms = Some(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        self
    }

    /// A lane of the child's queue, for example `h`.
    pub fn priority(mut self, lane: impl Into<String>) -> Self {
        self.options.priority = Some(lane.into());
        self
    }

    /// A pair of the handler's own, as a caller may give; the parent's labels are not inherited.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.labels.insert(key.into(), value.into());
        self
    }

    /// Tasks with one ordering key share a bucket.
    pub fn ordering_key(mut self, key: impl Into<String>) -> Self {
        self.options.ordering_key = Some(key.into());
        self
    }

    /// How often the child's handler may be started.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.options.attempts_max = Some(attempts);
        self
    }

    /// Submits it and gives its id, which is the same in every attempt of this run. The child is counted when this is
    /// called, not when the future is first polled, so that futures that run side by side keep their numbers.
    ///
    /// A dispatcher that is away, busy or full is asked again for a few seconds.
    ///
    /// # Errors
    /// A retryable one where the dispatcher cannot take it now. The child may exist nevertheless: return the error, and
    /// the next attempt asks for the same one. A permanent one where it never will.
    pub fn submit(self) -> impl Future<Output = Result<TaskId, TaskError>> + Send + use<T> {
        let context = self.context.clone();
        let asked = self.asked();
        async move { context.submit_asked(asked?).await }
    }

    /// The request, or why there is none.
    fn asked(self) -> Result<Asked, TaskError> {
        let queue: QueueName = T::KIND.parse().map_err(|error| TaskError::permanent("unknown_queue", error))?;
        let family = self.context.family().ok_or_else(|| {
            let message = "a direct call has no task, so it can have no children; submit a task instead of calling";
            TaskError::permanent(code::NO_PARENT, message)
        })?;
        let key = match self.name {
            None => ChildKey::Ordinal(family.next_ordinal()),
            Some(name) => ChildKey::Name(checked(name)?),
        };
        let id = family.id(&queue, &key, self.options.ordering_key.as_deref());
        let parent = family.parent(key, self.context.knows_child(&id));
        let submit = SubmitRequest {
            queue: queue.to_string(),
            payload: Some(Payload::Protobuf(self.task.encode_to_vec().into())),
            options: Some(self.options),
            ..Default::default()
        };
        let submit = FleetSubmit { submit: Some(submit), parent: Some(parent) };
        // Taken here: a future that is spawned runs outside of the handler's trace.
        Ok(Asked { id, queue, submit, trace: TraceContext::current() })
    }
}

/// Whether handlers of a queue with these settings may submit to `child`.
pub(crate) fn permitted(settings: &QueueSettings, child: &QueueName) -> Result<(), TaskError> {
    if settings.children.iter().any(|listed| listed == child.as_str()) {
        return Ok(());
    }
    let parent = &settings.queue;
    let message = format!(
        "tasks of {parent} may not submit {child} tasks: add \"{child}\" to `children` of [queue.{parent}] in the queues \
         file, run `workfleet provision`, and start the worker again"
    );
    Err(TaskError::permanent(code::FORBIDDEN, message))
}

fn checked(name: String) -> Result<String, TaskError> {
    if name.is_empty() || name.len() > CHILD_NAME_BYTES_MAX {
        let message =
            format!("the name of a child has {} bytes, but must have 1 to {CHILD_NAME_BYTES_MAX}", name.len());
        return Err(TaskError::permanent(code::INVALID_OPTION, message));
    }
    Ok(name)
}

impl<T: fmt::Debug> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("task", &self.task)
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
