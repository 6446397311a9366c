//! The front of the crate: from the environment to a running worker.
//!
//! A worker without a handler and one with a handler are two types, so that running the first is not an error but
//! cannot be written.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io::Write as _;

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

/// What `--help` says. Which kind the worker is for is not known yet when it is asked.
const HELP: &str = "\
A Workfleet worker: it takes tasks of one kind until it is stopped. It takes no arguments and is configured by variables:

  WORKFLEET_NATS_URL       where NATS is [default: nats://127.0.0.1:4222]
  WORKFLEET_SLOTS          tasks that run at once, 1 to 4096 [default: 16]
  WORKFLEET_ADMIN_ADDR     where /livez, /readyz and /metrics listen [default: 127.0.0.1:0, a free port]
  WORKFLEET_DRAIN_TIMEOUT  how long attempts may still run after SIGTERM [default: 25s]

docs/configuration.md lists all of them.
";
/// What `--version` says.
const VERSION: &str = concat!("workfleet-sdk ", env!("CARGO_PKG_VERSION"), "\n");
/// Exit code for wrong use, as that of `workfleet`.
const EXIT_WRONG_USE: i32 = 2;

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
        if let Some(words) = LastWords::to(std::env::args_os().skip(1)) {
            words.say_and_exit();
        }
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

/// Why a process ends before it has begun.
#[derive(Debug, PartialEq, Eq)]
enum LastWords {
    /// It was asked for them.
    Answer(&'static str),
    /// It was given an argument that it does not know.
    Mistake(String),
}

impl LastWords {
    /// The first argument decides; `None` without any.
    fn to(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let first = arguments.into_iter().next()?;
        Some(match first.to_string_lossy().as_ref() {
            "--help" | "-h" => Self::Answer(HELP),
            "--version" | "-V" => Self::Answer(VERSION),
            unknown => Self::Mistake(format!(
                "unknown argument {unknown:?}: a worker is configured by variables; --help names them\n"
            )),
        })
    }

    /// Where nobody reads the words any more, the exit code still tells.
    fn say_and_exit(&self) -> ! {
        let code = match self {
            Self::Answer(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                0
            }
            Self::Mistake(text) => {
                let _ = std::io::stderr().write_all(text.as_bytes());
                EXIT_WRONG_USE
            }
        };
        std::process::exit(code)
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

#[cfg(test)]
mod tests {
    use super::{HELP, LastWords, VERSION};

    fn to(arguments: &[&str]) -> Option<LastWords> {
        LastWords::to(arguments.iter().map(Into::into))
    }

    #[test]
    fn only_a_worker_without_arguments_joins_the_fleet() {
        assert_eq!(to(&[]), None);
        for help in ["--help", "-h"] {
            assert_eq!(to(&[help]), Some(LastWords::Answer(HELP)));
        }
        for version in ["--version", "-V"] {
            assert_eq!(to(&[version]), Some(LastWords::Answer(VERSION)));
        }
        for unknown in ["--slots=4", "thumbnail", ""] {
            assert!(matches!(to(&[unknown]), Some(LastWords::Mistake(text)) if text.contains(unknown)));
        }
    }
}
