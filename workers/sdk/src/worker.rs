//! The front of the crate: from the environment to a running worker.
//!
//! A worker without a handler and one with a handler are two types, so that running the first is not an error but
//! cannot be written.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;

use tokio::runtime::Handle;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service};
use workfleet_link::broker::BrokerError;
use workfleet_link::config::{ConfigError, Vars};
use workfleet_link::kinds::KindError;
use workfleet_link::telemetry::TelemetryError;
use workfleet_proto::Task;
use workfleet_proto::id::IdError;

use crate::config::Config;
use crate::handler::{self, Handler, HandlerService};
use crate::outcome::{Delivery, Outcome};
use crate::runtime::{self, Kind, Stop};

/// A worker that has its configuration but no handler yet.
///
/// ```no_run
/// # use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
/// # use workfleet_sdk::{Context, RunError, TaskError, Worker};
/// # async fn thumbnail(_: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> { unimplemented!() }
/// # async fn example() -> Result<(), RunError> {
/// Worker::from_env()?.handle(thumbnail).run().await
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    config: Config,
}

impl Worker {
    /// Reads the variables `WORKFLEET_*`, `OTEL_*` and `RUST_LOG`; docs/configuration.md lists them.
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn from_env() -> Result<Self, RunError> {
        Self::from_vars(Vars::from_env())
    }

    /// The same from given variables, for programs that start a worker inside themselves, and for tests.
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn from_vars(vars: Vars) -> Result<Self, RunError> {
        Ok(Self { config: Config::read(vars)? })
    }

    /// Serves the kind whose input is `T` with this handler: an async function, a closure, or a struct that implements
    /// [`Handler`].
    #[must_use]
    pub fn handle<T: Task, H: Handler<T>>(self, handler: H) -> KindWorker {
        let kind = Kind { name: T::KIND, service: T::SERVICE, descriptors: T::DESCRIPTORS };
        KindWorker { config: self.config, kind, service: handler::service::<T, H>(handler) }
    }
}

/// A worker for one kind.
pub struct KindWorker {
    config: Config,
    kind: Kind,
    service: HandlerService,
}

impl KindWorker {
    /// Puts middleware around the handler; the layer that is added last sees a delivery first.
    ///
    /// ```no_run
    /// # use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
    /// # use workfleet_sdk::{Context, Delivery, HandlerService, RunError, TaskError, Worker};
    /// # async fn thumbnail(_: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> { unimplemented!() }
    /// # async fn example() -> Result<(), RunError> {
    /// use tower::{ServiceExt as _, layer::layer_fn};
    ///
    /// let sizes = layer_fn(|inner: HandlerService| {
    ///     inner.map_request(|delivery: Delivery| {
    ///         tracing::info!(bytes = delivery.payload.len(), "begins");
    ///         delivery
    ///     })
    /// });
    /// Worker::from_env()?.handle(thumbnail).layer(sizes).run().await
    /// # }
    /// ```
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<HandlerService>,
        L::Service:
            Service<Delivery, Response = Outcome, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
    {
        let service = BoxCloneSyncService::new(layer.layer(self.service));
        Self { service, ..self }
    }

    /// Works until SIGTERM or SIGINT, then drains: what runs may go on for `WORKFLEET_DRAIN_TIMEOUT`, the rest is
    /// handed back. A second signal ends the process at once. A process whose slots are all held by handlers that do
    /// not stop ends itself, with exit code 70.
    ///
    /// # Errors
    /// When the worker cannot start.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run(self) -> Result<(), RunError> {
        self.start(Stop::BySignal).await
    }

    /// The same until `shutdown` is done; signals are left to the caller.
    ///
    /// # Errors
    /// When the worker cannot start.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run_until(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
        self.start(Stop::When(Box::pin(shutdown))).await
    }

    async fn start(self, stop: Stop) -> Result<(), RunError> {
        runtime::start(self.config, self.kind, self.service, Handle::current(), stop).await
    }
}

impl fmt::Debug for KindWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindWorker")
            .field("kind", &self.kind.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Why a worker did not start, or ended by itself. Its `Debug` text is for people too, since that is what a `main` that
/// returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The variables are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kind's name is no queue's name.
    #[error("the kind {kind:?} cannot be a queue: {source}")]
    Kind {
        /// The kind.
        kind: &'static str,
        /// What is wrong with its name.
        source: IdError,
    },
    /// There is no broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The kind is not compatible with what waits in the queue.
    #[error("the kind cannot be registered: {0}")]
    Register(#[from] KindError),
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A socket, a file, a thread or a signal handler cannot be had.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The subscription that the worker needs was refused.
    #[error("cannot subscribe to {subject}: {reason}")]
    Subscribe {
        /// The subject.
        subject: String,
        /// What was said.
        reason: String,
    },
    /// The thread that talks to the broker ended. This is a defect of the runtime.
    #[error("the io thread panicked; see the log above")]
    Io,
}

impl RunError {
    pub(crate) fn system(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::System { what: what.into(), source }
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
