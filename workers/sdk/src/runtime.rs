//! Puts the stations together, on a thread and a runtime of their own (see the crate's page for why two runtimes).
//!
//! The order of starting is the order in which things can be answered for: logs, then health over HTTP, then the
//! broker, then the queue, and tasks last.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workfleet_link::broker::Broker;
use workfleet_link::telemetry;
use workfleet_proto::id::QueueName;

use crate::bind::{self, Bound};
use crate::config::Config;
use crate::discard::Discarder;
use crate::drain::{self, Drained};
use crate::halts::{self, Halts};
use crate::handler::HandlerService;
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::presence::{self, Presence};
use crate::pulse::Pulse;
use crate::settle::Settler;
use crate::slots::Slots;
use crate::station::{Drain, Station, duration_ms};
use crate::worker::RunError;
use crate::{call, pull};

/// Exit code of a process that is of no use any more: its handlers do not stop.
const EXIT_STUCK: i32 = 70;
/// Exit code after a second signal.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// The kind that the worker serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) service: &'static str,
    pub(crate) descriptors: &'static [u8],
}

/// What makes the worker stop.
pub(crate) enum Stop {
    BySignal,
    When(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Everything that the io thread starts with.
struct Io {
    config: Config,
    kind: Kind,
    queue: QueueName,
    service: HandlerService,
    handlers: Handle,
    stop: Stop,
    /// Cancelled when nobody waits for this worker any more.
    gone: CancellationToken,
}

pub(crate) async fn start(
    config: Config,
    kind: Kind,
    service: HandlerService,
    handlers: Handle,
    stop: Stop,
) -> Result<(), RunError> {
    let queue = kind.name.parse().map_err(|source| RunError::Kind { kind: kind.name, source })?;
    let gone = CancellationToken::new();
    let _drain_when_dropped = gone.clone().drop_guard();
    let io = Io { config, kind, queue, service, handlers, stop, gone };
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("workfleet-io".to_owned());
    let spawned = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => {
                let result = runtime.block_on(io.run());
                // A look-up of a name that nobody answers must not hold up the end.
                runtime.shutdown_background();
                result
            }
            Err(source) => Err(RunError::system("cannot start the io runtime", source)),
        };
        // Where nobody waits any more, nobody wants to know.
        let _ = done.send(result);
    });
    spawned.map_err(|source| RunError::system("cannot start the io thread", source))?;
    ended.await.unwrap_or(Err(RunError::Io))
}

impl Io {
    async fn run(mut self) -> Result<(), RunError> {
        let service = format!("workfleet-{}", self.kind.name);
        let telemetry = telemetry::start(&self.config.telemetry, &service)?;
        let pulse = Pulse::new();
        let beating = tokio::spawn({
            let pulse = pulse.clone();
            async move { pulse.beat().await }
        });
        let owns_process = matches!(self.stop, Stop::BySignal);
        let stop = self.stop_token()?;
        let health = Arc::new(Health::new(pulse.clone()));
        let admin = health::serve(self.config.admin_addr, Arc::clone(&health), telemetry.clone()).await?;
        let result = self.work(pulse, &health, &stop).await;
        admin.stop().await;
        beating.abort();
        if let Err(error) = &result {
            tracing::error!(%error, "the worker ends");
        }
        telemetry.stop().await;
        match result? {
            Drained::Clean => Ok(()),
            // Returning would wait for the very threads that do not stop.
            Drained::Stuck if owns_process => std::process::exit(EXIT_STUCK),
            // A program that embeds a worker decides for itself.
            Drained::Stuck => Err(RunError::Stuck),
        }
    }

    /// A token that is cancelled when the worker is to stop.
    fn stop_token(&mut self) -> Result<CancellationToken, RunError> {
        let stop = self.gone.clone();
        match std::mem::replace(&mut self.stop, Stop::BySignal) {
            Stop::BySignal => {
                let mut signals = Signals::listen()?;
                let stop = stop.clone();
                tokio::spawn(async move {
                    let signal = signals.next().await;
                    tracing::info!(signal, "draining; a second signal ends the process at once");
                    stop.cancel();
                    let signal = signals.next().await;
                    tracing::warn!(signal, "ending at once");
                    std::process::exit(EXIT_SECOND_SIGNAL);
                });
            }
            Stop::When(shutdown) => {
                let stop = stop.clone();
                tokio::spawn(async move {
                    shutdown.await;
                    stop.cancel();
                });
            }
        }
        Ok(stop)
    }

    async fn work(&self, pulse: Pulse, health: &Arc<Health>, stop: &CancellationToken) -> Result<Drained, RunError> {
        let connecting = Broker::connect_telling(&self.config.broker, |error| health.waiting(error.to_string()));
        let Some(broker) = stop.run_until_cancelled(connecting).await else {
            return Ok(Drained::Clean);
        };
        let broker = broker?;
        health.connected(broker.clone());
        let Some(bound) = stop.run_until_cancelled(bind::bind(&broker, &self.queue, self.kind, health)).await else {
            broker.close().await;
            return Ok(Drained::Clean);
        };
        let station = Arc::new(self.station(broker.clone(), bound?, pulse));
        tracing::info!(queue = %station.queue, worker = station.worker, slots = station.slots.total(), "serving");
        let drained = self.serve(&station, health, stop).await;
        broker.close().await;
        drained
    }

    fn station(&self, broker: Broker, bound: Bound, pulse: Pulse) -> Station {
        let slots = Slots::new(self.config.slots);
        let metrics = Arc::new(Metrics::new(&self.queue, &slots));
        let underway = TaskTracker::new();
        let discarder = Arc::new(Discarder::new(&broker, &underway, &metrics));
        Station {
            queue: self.queue.clone(),
            worker: presence::worker_id(),
            halts: Halts::new(duration_ms(bound.settings.lease_ms)),
            schema: bound.contract.hash.as_str().to_owned(),
            contract: bound.contract,
            settings: bound.settings,
            metrics,
            slots,
            service: self.service.clone(),
            handlers: self.handlers.clone(),
            settler: Settler::start(&broker, &discarder),
            discarder,
            pulse,
            drain: Drain::default(),
            underway,
            broker,
        }
    }

    async fn serve(
        &self,
        station: &Arc<Station>,
        health: &Arc<Health>,
        stop: &CancellationToken,
    ) -> Result<Drained, RunError> {
        // Before the worker is registered: whoever is, hears.
        let _hearing = halts::serve(station).await?;
        let presence = Presence::start(station);
        let calls = call::serve(station).await?;
        let pulls = pull::serve(station, health).await?;
        let timeout = tokio::select! {
            () = stop.cancelled() => self.config.drain_timeout,
            // Whoever does not stop now will not stop later.
            () = station.drain.lost.cancelled() => Duration::ZERO,
        };
        health.draining();
        let drained = drain::drain(station, [pulls, calls], timeout).await;
        presence.stop().await;
        Ok(drained)
    }
}

/// The two signals that mean: stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, RunError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|source| RunError::system("cannot listen for signals", source));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
