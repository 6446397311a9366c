//! A whole fleet: broker, dispatcher, workers.

mod ask;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authority::Authority;
use crate::http::Http;
use crate::keys::Keys;
use crate::nats::Nats;
use crate::observer::Observer;
use crate::place::program;
use crate::process::{Process, Spec};
use crate::queues::{self, QueueSettings};
use crate::wait::eventually;
use crate::worker::Worker;

/// Fleets that run at once in one test binary; more, and two cores starve leases and make honest timings wrong.
const FLEETS_MAX: usize = 4;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(FLEETS_MAX)));

/// A running fleet. The fields are in the order in which its parts must go.
pub struct Fleet {
    /// The workers, in the order in which they were started.
    pub workers: Vec<Worker>,
    dispatcher: Process,
    /// The REST edge.
    pub http: Http,
    grpc: SocketAddr,
    /// The broker.
    pub nats: Nats,
    /// Counts stores of results.
    pub observer: Observer,
    plan: FleetBuilder,
    folder: TempDir,
    _turn: OwnedSemaphorePermit,
}

/// What a fleet is to be.
#[derive(Debug, Clone)]
pub struct FleetBuilder {
    queues: BTreeMap<String, QueueSettings>,
    workers: Vec<(String, usize)>,
    environment: BTreeMap<String, String>,
    admission: Admission,
    authority: Option<Authority>,
}

/// Whom the broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// Everybody, for everything.
    Open,
    /// Each role with its key, for what it needs.
    Keys,
}

impl Admission {
    /// With the variable `WORKFLEET_TEST_KEYS` every fleet has keys: so any test can be tried with the permissions.
    fn usual() -> Self {
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

    /// Starts it and waits until everything is ready.
    ///
    /// # Panics
    /// When a program is missing or does not become ready.
    pub async fn start(self) -> Fleet {
        let turn = Arc::clone(&TURNS).acquire_owned().await.expect("the semaphore is never closed");
        let folder = TempDir::with_prefix("workfleet-test-").expect("the machine has a temporary folder");
        let queues = folder.path().join("queues.toml");
        queues::write(&queues, &self.queues);
        let keys = match self.admission {
            Admission::Open => None,
            Admission::Keys => Some(Keys::write_for(&queues, self.environment.clone()).await),
        };
        let nats = Nats::launched(folder.path(), keys, self.authority.clone()).await;
        if self.admission == Admission::Keys {
            self.provision(&nats, &queues).await;
        }
        let observer = Observer::start(&nats.jetstream().await).await;
        let (dispatcher, http, grpc) = self.dispatcher(&nats, folder.path()).await;
        let mut fleet =
            Fleet { workers: Vec::new(), dispatcher, http, grpc, nats, observer, plan: self, folder, _turn: turn };
        fleet.start_workers().await;
        fleet
    }

    async fn dispatcher(&self, nats: &Nats, folder: &Path) -> (Process, Http, SocketAddr) {
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

    async fn provision(&self, nats: &Nats, queues: &Path) {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(["provision", "--queues"]).arg(queues).envs(broker_variables(nats, "provision"));
        let output = command.envs(&self.environment).kill_on_drop(true).output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn spec(&self, name: &str, role: &str, binary: &str, nats: &Nats) -> Spec {
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
        let file = self.folder.path().join(format!("{queue}.toml"));
        queues::write(&file, &BTreeMap::from([(queue.to_owned(), QueueSettings::new(queue))]));
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
fn broker_variables(nats: &Nats, role: &str) -> Vec<(&'static str, String)> {
    let keys = nats.keys().into_iter().flat_map(|keys| keys.variables(role));
    keys.chain(nats.variables()).collect()
}

/// One address of what a process writes to its `WORKFLEET_ADDR_FILE`.
pub(crate) fn address(file: &Path, key: &str) -> Option<SocketAddr> {
    let addresses: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    addresses[key].as_str()?.parse().ok()
}
