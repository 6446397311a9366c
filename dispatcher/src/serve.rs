//! The dispatcher as a process: say how it is, connect, provision if asked to, listen, and leave in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workfleet_link::admin::Admin;
use workfleet_link::broker::{Broker, BrokerError};
use workfleet_link::ready;
use workfleet_link::telemetry::{self, Telemetry, TelemetryError};
use workfleet_link::tls::TlsError;

use crate::accept::{self, Certificate, Listener, Protocol, fleet::Submits};
use crate::auth::Auth;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::health::Health;
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
    let health = Arc::new(Health::new(stop.clone()));
    let Some(address) = config.admin_addr else { return connected(config, telemetry, stop, &health, None).await };
    let admin = Admin::start(address, Arc::clone(&health) as _, telemetry.clone()).await;
    let admin = admin.map_err(|source| ServeError::Listen { address, source })?;
    let bound = admin.address();
    ready::announce(&[("admin", bound)]).map_err(ServeError::Announce)?;
    let served = connected(config, telemetry, stop, &health, Some(bound)).await;
    admin.stop().await;
    served
}

async fn connected(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
    health: &Health,
    admin: Option<SocketAddr>,
) -> Result<(), ServeError> {
    let connecting = Broker::connect_telling(&config.broker, |error| health.waiting(error.to_string()));
    let Some(broker) = stop.run_until_cancelled(connecting).await else { return Ok(()) };
    let broker = broker?;
    let served = with_broker(config, telemetry, stop, &broker, health, admin).await;
    broker.close().await;
    served
}

async fn with_broker(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
    broker: &Broker,
    health: &Health,
    admin: Option<SocketAddr>,
) -> Result<(), ServeError> {
    if let Some(path) = &config.queues_file {
        health.waiting("the queues are being made".to_owned());
        let report = streams::provision(broker, &QueuesFile::read(path)?).await?;
        let changed = report.lines.iter().filter(|line| line.change != Change::Unchanged).count();
        tracing::info!(path = %path.display(), checked = report.lines.len(), changed, "provisioned");
    }
    let (http, grpc) = listen(config, stop).await?;
    let addresses = [Some(("http", http.address())), Some(("grpc", grpc.address())), admin.map(|at| ("admin", at))];
    let dispatcher = Dispatcher::new(broker.clone());
    tokio::spawn(upkeep::run(dispatcher.clone(), stop.clone()));
    let (teller, until) = (dispatcher.clone(), stop.clone());
    tokio::spawn(async move { teller.tell_of_dead_letters(until).await });
    let noted = dispatcher.clone();
    let auth = Auth::new(&config.auth);
    tokio::spawn(auth.clone().keep_fresh(dispatcher.clone(), stop.clone()));
    let mut servers = JoinSet::new();
    let rest =
        accept::http::serve(http, dispatcher.clone(), config.callers, telemetry.clone(), auth.clone(), stop.clone());
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
    let carrying = dispatcher.clone();
    let stop_carrying = stop.clone();
    servers.spawn(async move {
        carrying.carry(stop_carrying).await;
        Ok(())
    });
    let expiring = dispatcher.clone();
    let stop_expiring = stop.clone();
    servers.spawn(async move {
        expiring.expire(stop_expiring).await;
        Ok(())
    });
    let grpc = accept::grpc::serve(grpc, dispatcher, config.callers, auth, stop.clone());
    servers.spawn(async { grpc.await.map_err(ServeError::Grpc) });
    let addresses: Vec<_> = addresses.into_iter().flatten().collect();
    ready::announce(&addresses).map_err(ServeError::Announce)?;
    health.serving(broker.clone());
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    tracing::info!(scheme, ?addresses, "serving");
    let finished = finish(servers, stop).await;
    noted.inner().operations.flush().await;
    finished
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

/// The ports for REST and gRPC, with a certificate that is as new as its files for as long as they are open.
async fn listen(config: &Config, stop: &CancellationToken) -> Result<(Listener, Listener), ServeError> {
    let certificate = config.tls.clone().map(Certificate::read).transpose()?;
    let bind = async |address, protocol| {
        let listener = Listener::bind(address, protocol, certificate.as_ref()).await;
        listener.map_err(|source| ServeError::Listen { address, source })
    };
    let http = bind(config.http_addr, Protocol::Http).await?;
    let grpc = bind(config.grpc_addr, Protocol::Grpc).await?;
    if let Some(certificate) = certificate {
        tokio::spawn(certificate.follow(stop.clone()));
    }
    Ok((http, grpc))
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
    /// The certificate cannot be used.
    #[error("WORKFLEET_TLS_CERT_FILE and WORKFLEET_TLS_KEY_FILE: {0}")]
    Tls(#[from] TlsError),
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
