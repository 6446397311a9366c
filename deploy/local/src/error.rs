//! What can go wrong with a fleet, in words for whoever started it.

use std::io;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("the runtime does not start: {0}")]
    Runtime(#[source] io::Error),
    #[error("the program cannot be started: {0}")]
    Guard(#[source] io::Error),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("a fleet is already up with {0}; use another --data, or `workfleet-local scale` to change that one")]
    Locked(PathBuf),
    #[error("no fleet is up with {0} (or it is just starting)")]
    NoFleet(PathBuf),
    #[error("{path}: {reason}")]
    Queues { path: PathBuf, reason: String },
    #[error("there is no worker `{queue}` in this fleet; there are: {known}")]
    UnknownWorker { queue: String, known: String },
    #[error("nats-server {wanted} is not here: `make tools` puts it into .tools/bin ({found})")]
    NoNats { wanted: &'static str, found: String },
    #[error("{0} is not here: `make build` (or `cargo build --workspace --bins`) makes it")]
    NoProgram(PathBuf),
    #[error("deploy/local/queues.toml was not found from here; give a queues file with --queues FILE")]
    NoQueuesFile,
    #[error("no free port on 127.0.0.1 from {from} on")]
    NoPort { from: u16 },
    #[error("{name} does not start. Its last words:\n{last_words}\nAll of them: {log}")]
    DoesNotStart { name: String, last_words: String, log: PathBuf },
    #[error("not ready after {seconds} s: {names}; see the logs in {logs}")]
    NotReady { seconds: u64, names: String, logs: PathBuf },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: io::Error },
    #[error("{0}: a secret is `whsec_` and base64")]
    Secret(PathBuf),
    #[error("stopped before it was done")]
    Interrupted,
    #[error("the supervisor failed: {0}")]
    Lost(#[source] tokio::task::JoinError),
    #[error("{0}")]
    Refused(String),
    #[error("the dispatcher does not answer: {0}")]
    Http(String),
    #[error("the demo shows all workers, and queue `{0}` has none here: `make build` makes it")]
    NoWorkerFor(&'static str),
    #[error("not all was well:\n  {0}")]
    NotWell(String),
}

impl LocalError {
    /// An HTTP client's error with its causes, which it keeps to itself otherwise.
    #[allow(clippy::needless_pass_by_value, reason = "this is for `map_err`")]
    pub(crate) fn http(error: reqwest::Error) -> Self {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        Self::Http(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }

    /// For `map_err` on what is done with the file at `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
