//! What a handler is: an async function of a context and a task.
//!
//! Two fixed arguments rather than extractors: a worker has exactly one message and one context, injection would buy
//! nothing, and a wrong signature gives an error that points at the right line. State is captured by a closure, or held
//! by a struct that implements [`Handler`].

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use prost::Message as _;
use tower::util::BoxCloneSyncService;
use workfleet_proto::Task;

use crate::context::Context;
use crate::error::TaskError;
use crate::outcome::{Delivery, Outcome};

/// Carries out tasks of the kind whose input is `T`.
///
/// Async functions and closures have it; a struct with state implements it:
///
/// ```
/// use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
/// use workfleet_sdk::{Context, Handler, TaskError};
///
/// struct Shrink { quality: u32 }
///
/// impl Handler<ThumbnailRequest> for Shrink {
///     async fn handle(&self, _: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
///         Ok(ThumbnailReply { width_px: task.width_px.min(self.quality), ..Default::default() })
///     }
/// }
/// ```
pub trait Handler<T: Task>: Send + Sync + 'static {
    /// Carries out one attempt at a task. It may run more than once for the same task.
    fn handle(&self, context: Context, task: T) -> impl Future<Output = Result<T::Output, TaskError>> + Send;
}

impl<T, F, R> Handler<T> for F
where
    T: Task,
    F: Fn(Context, T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T::Output, TaskError>> + Send,
{
    fn handle(&self, context: Context, task: T) -> impl Future<Output = Result<T::Output, TaskError>> + Send {
        self(context, task)
    }
}

/// A handler with its middleware, as a tower service. What [`KindWorker::layer`](crate::KindWorker::layer) wraps.
pub type HandlerService = BoxCloneSyncService<Delivery, Outcome, Infallible>;

/// The innermost service: decodes, handles, encodes.
pub(crate) fn service<T: Task, H: Handler<T>>(handler: H) -> HandlerService {
    let handler = Arc::new(handler);
    BoxCloneSyncService::new(tower::service_fn(move |delivery: Delivery| {
        let handler = Arc::clone(&handler);
        async move { Ok(attempt::<T, H>(&handler, delivery).await) }
    }))
}

async fn attempt<T: Task, H: Handler<T>>(handler: &H, delivery: Delivery) -> Outcome {
    let task = match T::decode(delivery.payload) {
        Ok(task) => task,
        Err(error) => return Outcome::Undecodable(error.to_string()),
    };
    match handler.handle(delivery.context, task).await {
        Ok(output) => Outcome::Completed(output.encode_to_vec().into()),
        Err(error) => Outcome::Failed(error),
    }
}
