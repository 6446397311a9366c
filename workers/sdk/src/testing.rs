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
//!
//! What a handler finds around it (attempts, clock, labels, children, cancellation) is laid out on a [`Bench`], and
//! [`Ran`] tells what it did. Nothing in here opens a socket. What a bench leaves out is what lies outside a handler:
//! leases, retries and results are the runtime's, and tested with it.

mod bench;
mod desk;
mod ran;
mod run;

use workfleet_proto::Task;

use crate::context::Context;
use crate::error::TaskError;
use crate::handler::Handler;

pub use bench::Bench;
pub(crate) use desk::Desk;
pub use ran::{Ended, Ran, Submitted};

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
    Bench::new().attempt(attempt, attempts_max).context()
}

#[cfg(test)]
mod tests;
