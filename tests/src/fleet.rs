//! A whole fleet: broker, dispatcher, workers.

mod ask;
mod builder;

pub use builder::FleetBuilder;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cluster::Broker;
use crate::http::Http;
use crate::nats::Nats;
use crate::observer::Observer;
use crate::place::program;
use crate::process::{Process, Spec};
use crate::queues::{self, QueueSettings};
use crate::worker::Worker;
use builder::Admission;

/// Fleets that run at once in one test binary; more, and two cores starve leases and make honest timings wrong.
const FLEETS_MAX: usize = 4;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(FLEETS_MAX)));

/// A running fleet. The fields are in the order in which its parts must go.
pub struct Fleet<B = Nats> {
    /// The workers, in the order in which they were started.
    pub workers: Vec<Worker>,
    dispatcher: Process,
    /// The REST edge.
    pub http: Http,
    grpc: SocketAddr,
    /// The broker.
    pub nats: B,
    /// Counts stores of results.
    pub observer: Observer,
    plan: FleetBuilder,
    folder: TempDir,
    _turn: OwnedSemaphorePermit,
}

impl Fleet {
    /// A fleet with one queue, `probe`, and one worker.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A fleet that differs.
    #[must_use]
    pub fn builder() -> FleetBuilder {
        FleetBuilder {
            queues: BTreeMap::from([("probe".to_owned(), QueueSettings::new("probe"))]),
            workers: vec![("probe".to_owned(), 1)],
            environment: BTreeMap::new(),
            admission: Admission::usual(),
            authority: None,
        }
    }
}

impl<B: Broker> Fleet<B> {
    /// Starts one more worker and waits until it is ready.
    pub async fn add_worker(&mut self, kind: &str) {
        let worker = Worker::start(self.worker_spec(kind), self.folder.path()).await;
        self.workers.push(worker);
    }

    /// Starts one more worker and does not wait for it.
    pub fn launch_worker(&mut self, kind: &str) {
        let worker = Worker::launch(self.worker_spec(kind), self.folder.path());
        self.workers.push(worker);
    }

    /// Starts a probe worker of the next version and waits until it is ready.
    pub async fn add_next_probe(&mut self) {
        let name = format!("probe-next-{}", self.workers.len());
        let spec = self.plan.spec(&name, "worker-probe", "workfleet-probe-next", &self.nats);
        let spec = spec.variable("WORKFLEET_ADMIN_ADDR", "127.0.0.1:0");
        self.workers.push(Worker::start(spec, self.folder.path()).await);
    }

    /// The dispatcher's process.
    pub fn dispatcher(&mut self) -> &mut Process {
        &mut self.dispatcher
    }

    /// Kills the dispatcher with SIGKILL and starts another one, on other ports.
    pub async fn replace_dispatcher(&mut self) {
        self.dispatcher.kill();
        let _ = std::fs::remove_file(self.folder.path().join("dispatcher.json"));
        (self.dispatcher, self.http, self.grpc) = self.plan.dispatcher(&self.nats, self.folder.path()).await;
    }

    /// Runs `workfleet` with these arguments against this fleet.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        tokio::process::Command::new(program("workfleet"))
            .args(arguments)
            .envs(broker_variables(&self.nats, "provision"))
            .env("WORKFLEET_URL", self.http.url())
            .envs(self.plan.authority.iter().map(|authority| ("WORKFLEET_CA_FILE", authority.ca_file())))
            .kill_on_drop(true)
            .output()
            .await
            .expect("the program starts")
    }

    /// Adds a queue to the running fleet with `workfleet provision`; the dispatcher is not told.
    ///
    /// # Panics
    /// When that fails.
    pub async fn provision(&self, queue: &str) {
        self.provision_as(queue, |settings| settings).await;
    }

    /// The same with other settings, or for a queue that is there, whose settings are changed.
    ///
    /// # Panics
    /// When that fails.
    pub async fn provision_as(&self, queue: &str, change: impl FnOnce(QueueSettings) -> QueueSettings) {
        let file = self.folder.path().join(format!("{queue}.toml"));
        queues::write(&file, &BTreeMap::from([(queue.to_owned(), change(QueueSettings::new(queue)))]));
        let output = self.command(&["provision", "--queues", &file.display().to_string()]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn start_workers(&mut self) {
        // All are started before the first is waited for: they become ready side by side.
        for (kind, count) in self.plan.workers.clone() {
            for _ in 0..count {
                let spec = self.worker_spec(&kind);
                self.workers.push(Worker::launch(spec, self.folder.path()));
            }
        }
        for worker in &mut self.workers {
            worker.ready().await;
        }
    }

    fn worker_spec(&self, kind: &str) -> Spec {
        let name = format!("{kind}-{}", self.workers.len());
        let binary = format!("workfleet-{kind}");
        let role = format!("worker-{kind}");
        self.plan.spec(&name, &role, &binary, &self.nats).variable("WORKFLEET_ADMIN_ADDR", "127.0.0.1:0")
    }
}

/// What tells a program where the broker is, and who the program is there.
fn broker_variables(nats: &impl Broker, role: &str) -> Vec<(&'static str, String)> {
    let keys = nats.keys().into_iter().flat_map(|keys| keys.variables(role));
    keys.chain(nats.variables()).collect()
}

/// One address of what a process writes to its `WORKFLEET_ADDR_FILE`.
pub(crate) fn address(file: &Path, key: &str) -> Option<SocketAddr> {
    let addresses: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    addresses[key].as_str()?.parse().ok()
}
