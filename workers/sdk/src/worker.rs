//! The front of the crate: from the environment to a running worker.
//!
//! A worker without a handler and one with a handler are two types, so that running the first is not an error but
//! cannot be written.

mod last_words;

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

use last_words::LastWords;

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
    /// This is for a `main`: a program that was started with arguments ends here, with a word about them. Whoever asks
    /// for `--help` must not join the fleet instead. [`from_vars`](Self::from_vars) looks at no arguments.
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn from_env() -> Result<Self, RunError> {
        Self::from_env_with("", |_| ()).map(|(worker, ())| worker)
    }

    /// The same for a worker with variables of its own: `read` reads them, and `help` is what `--help` says of them, a
    /// line each. What it notes with [`Vars::mistake`] is reported together with every other mistake.
    ///
    /// ```no_run
    /// # use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
    /// # use workfleet_sdk::{Context, RunError, TaskError, Worker};
    /// # async fn example() -> Result<(), RunError> {
    /// const HELP: &str = "  ACME_PIXELS_MAX          largest picture [default: 1000000]\n";
    /// let (worker, pixels_max) = Worker::from_env_with(HELP, |vars| vars.number("ACME_PIXELS_MAX", 1_000_000, 1, 1 << 32))?;
    /// let handler = move |_: Context, task: ThumbnailRequest| async move {
    ///     if u64::from(task.width_px) * u64::from(task.height_px) > pixels_max {
    ///         return Err(TaskError::permanent("too_large", format!("more than {pixels_max} pixels")));
    ///     }
    ///     Ok(ThumbnailReply::default())
    /// };
    /// worker.handle(handler).run().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Every mistake, together.
    pub fn from_env_with<C>(help: &str, read: impl FnOnce(&mut Vars) -> C) -> Result<(Self, C), RunError> {
        if let Some(words) = LastWords::to(std::env::args_os().skip(1), help) {
            words.say_and_exit();
        }
        Self::from_vars_with(Vars::from_env(), read)
    }

    /// The same from given variables, for programs that start a worker inside themselves, and for tests.
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn from_vars(vars: Vars) -> Result<Self, RunError> {
        Self::from_vars_with(vars, |_| ()).map(|(worker, ())| worker)
    }

    /// [`from_env_with`](Self::from_env_with) from given variables.
    ///
    /// ```
    /// use workfleet_sdk::{Vars, Worker};
    /// let vars = Vars::from_pairs([("WORKFLEET_SLOTS", "0"), ("ACME_PIXELS_MAX", "many")]);
    /// let error = Worker::from_vars_with(vars, |vars| vars.number("ACME_PIXELS_MAX", 1, 1, 9)).unwrap_err().to_string();
    /// assert!(error.contains("WORKFLEET_SLOTS") && error.contains("ACME_PIXELS_MAX"));
    /// ```
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn from_vars_with<C>(vars: Vars, read: impl FnOnce(&mut Vars) -> C) -> Result<(Self, C), RunError> {
        let (config, own) = Config::read(vars, read)?;
        Ok((Self { config }, own))
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
    /// Handlers did not stop, and hold threads that only the end of the process frees. [`run`](KindWorker::run) ends it
    /// with exit code 70; after [`run_until`](KindWorker::run_until) that is the caller's to do.
    #[error("handlers did not stop; only the end of the process frees their threads")]
    Stuck,
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
