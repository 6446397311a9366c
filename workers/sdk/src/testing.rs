//! Runs a handler without a broker.
//!
//! ```
//! use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
//! use workfleet_sdk::{Context, TaskError, testing};
//!
//! async fn shrink(_: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
//!     if task.width_px == 0 {
//!         return Err(TaskError::permanent("no_width", "the width is missing"));
//!     }
//!     Ok(ThumbnailReply { width_px: task.width_px, ..Default::default() })
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let failed = testing::attempt(&shrink, ThumbnailRequest::default()).await;
//! assert_eq!(failed.unwrap_err().code(), "no_width");
//! # });
//! ```

use std::sync::Weak;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use workfleet_proto::Task;
use workfleet_proto::id::{QueueName, TaskId};

use crate::context::{Context, Given};
use crate::error::TaskError;
use crate::handler::Handler;

/// Runs one attempt at `task`, as [`attempt`](Context::attempt) 1 of 5.
///
/// # Errors
/// What the handler says.
pub async fn attempt<T: Task, H: Handler<T>>(handler: &H, task: T) -> Result<T::Output, TaskError> {
    handler.handle(context(), task).await
}

/// The context of attempt 1 of 5, with a minute's time.
#[must_use]
pub fn context() -> Context {
    context_of_attempt(1, 5)
}

/// The context of any attempt, for handlers that do something else in their last one.
///
/// ```
/// assert!(workfleet_sdk::testing::context_of_attempt(5, 5).is_last_attempt());
/// ```
#[must_use]
pub fn context_of_attempt(attempt: u32, attempts_max: u32) -> Context {
    let queue: QueueName = "test".parse().expect("a good name");
    Context::new(Given {
        task_id: TaskId::new(&queue, 0, rand::random(), None),
        attempt,
        attempts_max,
        deadline: Instant::now() + Duration::from_secs(60),
        cancelled: CancellationToken::new(),
        slot: Weak::new(),
    })
}
