//! What the author of a worker uses.
//!
//! A worker is a process that takes tasks of one kind. All of it:
//!
//! ```no_run
//! use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
//! use workfleet_sdk::{Context, ResultExt, RunError, TaskError, Worker};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), RunError> {
//!     Worker::from_env()?.handle(thumbnail).run().await
//! }
//!
//! async fn thumbnail(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
//!     let template = std::fs::read("template.png")?; // any error: tried again, with backoff
//!     ctx.progress(40, "read");
//!     let name = String::from_utf8(task.image.to_vec()).permanent("bad_image")?; // never again
//!     let image = ctx.blocking(move || [template, name.into_bytes()].concat()).await; // off the async threads
//!     Ok(ThumbnailReply { image: image.into(), ..Default::default() })
//! }
//! ```
//!
//! What an author meets: [`Worker`], [`Handler`], [`Context`], [`Child`], [`TaskError`] with [`ResultExt`], [`Delivery`] and
//! [`Outcome`] for middleware, and [`testing`] for tests without a broker.
//!
//! # The way of a task through this crate
//!
//! [`Worker::from_env`] reads the configuration, and [`run`](KindWorker::run) starts the runtime. From there a file is a
//! station, in the order in which a task meets them:
//!
//! - `runtime`: puts the stations together, on a thread of their own;
//! - `bind`: waits for the queue and registers the kind;
//! - `pull`: asks for exactly the free slots; `slots` counts them;
//! - `task`: message to task; `look`: has it ended, is it already carried on? `halts`: was it cancelled meanwhile?
//! - `lease`: keeps the task while it is held; `attempt` and `handling`: run the handler behind a fence;
//! - `reach`: what a handler's context reaches beyond the process; `child`: the tasks that it submits;
//! - `settle`: stores the outcome, **then** acknowledges; `records` makes what is stored;
//! - `events`, `span`, `metrics`: what is told meanwhile;
//! - `call`: direct calls, to the same handler and slots;
//! - `presence`, `health`, `drain`: the life of the process.
//!
//! # Two runtimes
//!
//! Everything that touches the broker runs on the thread `workfleet-io` with a runtime of its own; handlers run on the
//! runtime that called [`run`](KindWorker::run). So a handler that blocks every thread it can find stops other handlers,
//! but no lease: no task is taken away from a process that still works on it. With one runtime for both, one
//! `std::thread::sleep` in a handler would hand all tasks of the process to others after eight seconds.
//!
//! Handlers may run more than once for one task: [`Context::task_id`] is the idempotency key to pass on.

#[cfg(all(feature = "fault-no-cas", not(debug_assertions)))]
compile_error!("the feature `fault-no-cas` breaks the promise of one result, and is for tests alone");

mod worker;

mod config;

mod context;
mod error;
mod handler;
mod outcome;

mod runtime;

mod bind;
mod station;

mod pull;
mod slots;

mod halts;
mod look;
mod task;

mod attempt;
mod handling;
mod lease;
mod payload;
mod pulse;

mod blobs;
mod child;
mod reach;

mod discard;
mod output;
mod records;
mod settle;

mod events;
mod metrics;
mod span;

mod call;

mod drain;
mod health;
mod presence;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod testing;

pub use blobs::{BlobError, BlobStream};
pub use child::Child;
pub use context::Context;
pub use drain::SHUTDOWN_MARGIN;
pub use error::{ResultExt, TaskError};
pub use handler::{Handler, HandlerService};
pub use outcome::{Delivery, Outcome};
pub use worker::{KindWorker, RunError, Worker};
pub use workfleet_link::config::Vars;
