//! The dispatcher as a process: connect, provision if asked to, listen, and leave in order.

use std::future::Future;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workfleet_link::broker::{Broker, BrokerError};
use workfleet_link::ready;
use workfleet_link::telemetry::{self, Telemetry, TelemetryError};

use crate::accept::{self, fleet::Submits};
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::limits::SHUTDOWN_GRACE;
use crate::queues_file::{QueuesFile, QueuesFileError};
use crate::streams::{self, Change, ProvisionError};
use crate::upkeep;

/// Serves until `shutdown` is done, then finishes what is in flight, sends what is not sent, and returns.
///
/// # Errors
/// When it cannot start, or a listener fails.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let telemetry = telemetry::start(&config.telemetry, "workfleet-dispatcher")?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    let listening = tokio::spawn(async move {
        shutdown.await;
        signal.cancel();
    });
    let served = run(&config, &telemetry, &stop).await;
    listening.abort();
    telemetry.stop().await;
    served
}

async fn run(config: &Config, telemetry: &Telemetry, stop: &CancellationToken) -> Result<(), ServeError> {
    let broker = tokio::select! {
        broker = Broker::connect(&config.broker) => broker?,
        () = stop.cancelled() => return Ok(()),
    };
    let served = with_broker(config, telemetry, stop, &broker).await;
    broker.close().await;
    served
}

async fn with_broker(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
    broker: &Broker,
) -> Result<(), ServeError> {
    if let Some(path) = &config.queues_file {
        let report = streams::provision(broker, &QueuesFile::read(path)?).await?;
        let changed = report.lines.iter().filter(|line| line.change != Change::Unchanged).count();
        tracing::info!(path = %path.display(), checked = report.lines.len(), changed, "provisioned");
    }
    let (http, http_addr) = listen(config.http_addr).await?;
    let (grpc, grpc_addr) = listen(config.grpc_addr).await?;
    let dispatcher = Dispatcher::new(broker.clone());
    tokio::spawn(upkeep::run(dispatcher.clone(), stop.clone()));
    let mut servers = JoinSet::new();
    let rest = accept::http::serve(http, dispatcher.clone(), config.callers, telemetry.clone(), stop.clone());
    servers.spawn(async {
        rest.await;
        Ok(())
    });
    let fleet = Submits::subscribe(&dispatcher).await.map_err(ServeError::Subscribe)?;
    let fleet = accept::fleet::serve(fleet, dispatcher.clone(), stop.clone());
    servers.spawn(async {
        fleet.await;
        Ok(())
    });
    let grpc = accept::grpc::serve(grpc, dispatcher, config.callers, stop.clone());
    servers.spawn(async { grpc.await.map_err(ServeError::Grpc) });
    ready::announce(&[("http", http_addr), ("grpc", grpc_addr)]).map_err(ServeError::Announce)?;
    tracing::info!(http = %http_addr, grpc = %grpc_addr, "serving");
    finish(servers, stop).await
}

/// Until we are asked to stop, or one server fails: then the other stops too, and whoever started us starts us again.
async fn finish(mut servers: JoinSet<Result<(), ServeError>>, stop: &CancellationToken) -> Result<(), ServeError> {
    let mut outcome = Ok(());
    tokio::select! {
        // A server that ends because it was told to must not win this race.
        biased;
        () = stop.cancelled() => tracing::info!("stopping: requests in flight have {} s", SHUTDOWN_GRACE.as_secs()),
        Some(ended) = servers.join_next() => {
            outcome = ended.unwrap_or(Err(ServeError::Lost)).and(Err(ServeError::Lost));
            stop.cancel();
        }
    }
    while let Some(ended) = servers.join_next().await {
        outcome = outcome.and(ended.unwrap_or(Err(ServeError::Lost)));
    }
    outcome
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Why the dispatcher cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// There is no broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The queues file has mistakes.
    #[error(transparent)]
    QueuesFile(#[from] QueuesFileError),
    /// The queues cannot be made.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Submits from within the fleet cannot be listened for.
    #[error("cannot subscribe to submits from within the fleet: {0}")]
    Subscribe(async_nats::SubscribeError),
    /// The file for the addresses cannot be written.
    #[error("the file that WORKFLEET_ADDR_FILE names cannot be written: {0}")]
    Announce(std::io::Error),
    /// The listener for gRPC failed.
    #[error("gRPC: {0}")]
    Grpc(tonic::transport::Error),
    /// A server panicked, or ended by itself.
    #[error("a server ended without being asked to")]
    Lost,
}
