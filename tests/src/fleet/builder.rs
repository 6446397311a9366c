//! What a fleet is to be, and its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Fleet, TURNS, address, broker_variables};
use crate::authority::Authority;
use crate::cluster::{Broker, Cluster, ClusterBuilder, SERVERS};
use crate::http::Http;
use crate::keys::Keys;
use crate::nats::Nats;
use crate::observer::Observer;
use crate::place::program;
use crate::process::{Process, Spec};
use crate::queues::{self, QueueSettings};
use crate::wait::eventually;

/// What a fleet is to be.
#[derive(Debug, Clone)]
pub struct FleetBuilder {
    pub(super) queues: BTreeMap<String, QueueSettings>,
    pub(super) workers: Vec<(String, usize)>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) admission: Admission,
    pub(super) authority: Option<Authority>,
}

/// Whom the broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Everybody, for everything.
    Open,
    /// Each role with its key, for what it needs.
    Keys,
}

impl Admission {
    /// With the variable `WORKFLEET_TEST_KEYS` every fleet has keys: so any test can be tried with the permissions.
    pub(super) fn usual() -> Self {
        if std::env::var_os("WORKFLEET_TEST_KEYS").is_some() { Self::Keys } else { Self::Open }
    }
}

impl FleetBuilder {
    /// Sets up a queue; `probe` is always there.
    #[must_use]
    pub fn queue(mut self, queue: &str, change: impl FnOnce(QueueSettings) -> QueueSettings) -> Self {
        let settings = self.queues.remove(queue).unwrap_or_else(|| QueueSettings::new(queue));
        self.queues.insert(queue.to_owned(), change(settings));
        self
    }

    /// Changes the queue `probe`.
    #[must_use]
    pub fn probe(self, change: impl FnOnce(QueueSettings) -> QueueSettings) -> Self {
        self.queue("probe", change)
    }

    /// How many workers of a kind to start; one `probe` if nothing is said.
    #[must_use]
    pub fn workers(mut self, kind: &str, count: usize) -> Self {
        self.workers.retain(|(name, _)| name != kind);
        self.workers.push((kind.to_owned(), count));
        self
    }

    /// How many tasks a worker holds at once.
    #[must_use]
    pub fn slots(self, slots: usize) -> Self {
        self.variable("WORKFLEET_SLOTS", &slots.to_string())
    }

    /// Sends the spans of all processes to `endpoint`, soon.
    #[must_use]
    pub fn traces_to(self, endpoint: &str) -> Self {
        self.variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).variable("OTEL_BSP_SCHEDULE_DELAY", "100")
    }

    /// Gives every program the key of its role, and the broker the permissions that `workfleet credentials` writes.
    /// Then `workfleet provision` makes the queues, as in a cluster, since the dispatcher may not.
    #[must_use]
    pub fn with_keys(self) -> Self {
        Self { admission: Admission::Keys, ..self }
    }

    /// Lets everybody speak TLS with everybody: the broker, and the dispatcher's two ports.
    #[must_use]
    pub fn over_tls(self, authority: &Authority) -> Self {
        let (certificate, key) = authority.pair();
        let fleet = self
            .variable("WORKFLEET_TLS_CERT_FILE", &certificate.display().to_string())
            .variable("WORKFLEET_TLS_KEY_FILE", &key.display().to_string());
        Self { authority: Some(authority.clone()), ..fleet }
    }

    /// Sets a variable of all programs of the fleet.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts it on one server, and waits until everything is ready.
    ///
    /// # Panics
    /// When a program is missing or does not become ready.
    pub async fn start(self) -> Fleet {
        let authority = self.authority.clone();
        self.start_with(async |folder, keys| Nats::launched(folder, keys, authority).await).await
    }

    /// Starts it on three servers, every queue with a replica on each. Without keys and TLS.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_on(mut self, cluster: ClusterBuilder) -> Fleet<Cluster> {
        self.admission = Admission::Open;
        self.queues = self.queues.into_iter().map(|(name, queue)| (name, queue.replicas(SERVERS))).collect();
        self.start_with(async |folder, _| cluster.start(folder).await).await
    }

    async fn start_with<B: Broker>(self, broker: impl AsyncFnOnce(&Path, Option<Keys>) -> B) -> Fleet<B> {
        let turn = Arc::clone(&TURNS).acquire_owned().await.expect("the semaphore is never closed");
        let folder = TempDir::with_prefix("workfleet-test-").expect("the machine has a temporary folder");
        let queues = folder.path().join("queues.toml");
        queues::write(&queues, &self.queues);
        let keys = match self.admission {
            Admission::Open => None,
            Admission::Keys => Some(Keys::write_for(&queues, self.environment.clone()).await),
        };
        let nats = broker(folder.path(), keys).await;
        if self.admission == Admission::Keys {
            self.provision(&nats, &queues).await;
        }
        let observer = Observer::start_on(&nats.jetstream().await, nats.replicas()).await;
        let (dispatcher, http, grpc) = self.dispatcher(&nats, folder.path()).await;
        let mut fleet =
            Fleet { workers: Vec::new(), dispatcher, http, grpc, nats, observer, plan: self, folder, _turn: turn };
        fleet.start_workers().await;
        fleet
    }

    pub(super) async fn dispatcher(&self, nats: &impl Broker, folder: &Path) -> (Process, Http, SocketAddr) {
        let addresses = folder.join("dispatcher.json");
        let mut spec = self
            .spec("dispatcher", "dispatcher", "workfleet", nats)
            .argument("serve")
            .variable("WORKFLEET_HTTP_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_GRPC_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_ADDR_FILE", addresses.display().to_string());
        if self.admission == Admission::Open {
            spec = spec.argument("--queues").argument(folder.join("queues.toml").display().to_string());
        }
        let mut process = Process::start(&spec, folder);
        let (http, grpc) = eventually("the dispatcher is ready", async || {
            process.must_run();
            let http = address(&addresses, "http")?;
            let http = Http::new(http, self.authority.as_ref());
            http.is_ready().await.then_some((http, address(&addresses, "grpc")?))
        })
        .await;
        (process, http, grpc)
    }

    async fn provision(&self, nats: &impl Broker, queues: &Path) {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(["provision", "--queues"]).arg(queues).envs(broker_variables(nats, "provision"));
        let output = command.envs(&self.environment).kill_on_drop(true).output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn spec(&self, name: &str, role: &str, binary: &str, nats: &impl Broker) -> Spec {
        let mut spec = Spec::new(name, program(binary)).variable("RUST_LOG", "info").variable("RUST_BACKTRACE", "1");
        for (name, value) in broker_variables(nats, role) {
            spec = spec.variable(name, value);
        }
        for (name, value) in &self.environment {
            spec = spec.variable(name, value);
        }
        spec
    }
}
