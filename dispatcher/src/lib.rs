//! The dispatcher: takes tasks, stores them in NATS JetStream, and says what became of them.
//!
//! In the order in which a task meets them:
//! - [`accept`]: HTTP and gRPC, bytes to [`Submit`]. [`auth`]: who asks, and what they may do.
//! - [`admit`]: a submit to an envelope, or a refusal; pure. With `kinds` and `transcode`, JSON to protobuf and back.
//! - `stow`: a large payload to its store. `publish`: an envelope to JetStream's acknowledgement. With `idempotency`, one
//!   task for one key.
//! - `state`, `wait`, `watch`: where a task is, until it ends.
//! - `cancel`: a caller ends tasks. `expire`: their deadlines do. `halt`: how either is carried out.
//! - `blobs`: uploads, and the object stores; `large`: what must be whole in memory. `sweep`: what is nobody's.
//! - `dead`: tasks that were given up: read, redriven, dropped, told of.
//! - `call`: direct questions over a queue group, beside all of that.
//! - `queues`, `scale`: what is in a queue. `list`: its tasks, a page at a time.
//! - [`ledger`]: what was accepted; [`audit`]: whether any of it was lost. [`doctor`]: whether the broker is fit.
//! - `bounds`: how much of each bound of a queue is used.
//! - [`streams`]: creates all that JetStream has to hold, from a [`queues_file`]. [`credentials`]: who may do what there.
//!
//! [`Dispatcher`] is all of it without a port, for use inside any service; [`serve()`] puts it behind HTTP and gRPC.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use workfleet_dispatcher::{Dispatcher, Options, Payload, Submit};
//! use workfleet_link::{broker::BrokerConfig, config::Vars};
//!
//! let mut vars = Vars::from_env();
//! let config = BrokerConfig::read(&mut vars, "checkout");
//! let dispatcher = Dispatcher::connect(&vars.finish(config)?).await?;
//! let submitted = dispatcher
//!     .submit(Submit {
//!         queue: "thumbnail".to_owned(),
//!         payload: Payload::Json(r#"{"image":"...","width_px":128,"height_px":128}"#.into()),
//!         idempotency_key: Some("upload-4711".to_owned()),
//!         wait: Some(Duration::from_secs(10)),
//!         options: Options::default(),
//!     })
//!     .await?;
//! assert!(submitted.task.is_end(), "it may still be running after ten seconds");
//! # Ok(())
//! # }
//! ```

pub mod accept;
pub mod admit;
pub mod audit;
pub mod auth;
pub mod config;
pub mod credentials;
pub mod doctor;
pub mod error;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod ledger;
pub mod limits;
pub mod openapi;
pub mod operations;
pub mod queues_file;
pub mod streams;
pub mod view;

mod ask;
mod blobs;
mod bounds;
mod call;
mod cancel;
mod dead;
mod dispatcher;
mod due;
mod expire;
mod fired;
mod going_on;
mod halt;
mod health;
mod idempotency;
mod kinds;
mod large;
mod list;
mod marks;
mod metrics;
mod output;
mod places;
mod publish;
mod queues;
mod room;
mod serve;
mod spans;
mod state;
mod stow;
mod submit;
mod sweep;
mod transcode;
mod unsent;
mod upkeep;
mod wait;
mod watch;

pub use admit::{Deadline, Options, Payload, Submit};
pub use blobs::{BlobRead, BlobView, Put};
pub use call::{Call, Called};
pub use cancel::{CancelMany, Cancelled, CancelledMany};
pub use config::Config;
pub use dead::{DeadFilter, DeadList, DeadMany, DeadManyView, DeadView, Letters, ListDead, Redrive, RedriveChanges};
pub use dispatcher::{Dispatcher, Output, Submitted};
pub use error::{ApiError, Code, Problem};
pub use list::ListTasks;
pub use serve::{ServeError, serve};
pub use sweep::{Sweep, SweepAction, SweepPace, Swept};
pub use view::{Cursor, QueueList, QueueView, ScaleView, TaskList, TaskView};
pub use watch::Watch;
