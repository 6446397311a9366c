//! A fleet of several dispatchers and workers on a broker that the test brings: one server, three, or what a proxy leads
//! to.
//!
//! [`Fleet`](crate::Fleet) has one broker and one dispatcher, which is all that most tests need. To teach it several would
//! make every one of its answers a question of which. Here each program has its own way to the broker, and clients are
//! given all dispatchers at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, PoisonError, RwLock};

use crate::fleet::address;
use crate::http::get;
use crate::place::program;
use crate::process::{Process, Spec};
use crate::queues::{self, QueueSettings};
use crate::runs::{self, Run};
use crate::wait::eventually;
use crate::worker::Worker;

/// The exit code of a command that may succeed later.
const LATER: i32 = 3;
/// How often `provision` is tried again then.
const PROVISION_AGAIN_MAX: usize = 3;

/// What is to stand. Every program is named by its way to the broker.
#[derive(Debug, Clone)]
pub struct StandPlan {
    /// Where logs and files go; the test keeps it for longer than the stand.
    pub folder: PathBuf,
    /// The way of `workfleet` commands.
    pub direct: String,
    /// One dispatcher for each.
    pub dispatchers: Vec<String>,
    /// One probe worker for each.
    pub workers: Vec<String>,
    /// How many tasks a worker holds at once.
    pub slots: usize,
    /// The queue `probe`.
    pub queue: QueueSettings,
}

/// Dispatchers and workers.
#[derive(Debug)]
pub struct Stand {
    /// The workers, in the order of the plan.
    pub workers: Vec<Worker>,
    dispatchers: Vec<Dispatcher>,
    edges: Edges,
    plan: StandPlan,
}

/// Where the dispatchers listen now. A client that goes on to the next one after each failure meets a live one.
#[derive(Debug, Clone, Default)]
pub struct Edges(Arc<RwLock<Vec<String>>>);

#[derive(Debug)]
struct Dispatcher {
    process: Process,
    spec: Spec,
}

impl Edges {
    /// The start of every URL, of the dispatcher of this turn.
    #[must_use]
    pub fn of_turn(&self, turn: usize) -> String {
        let edges = self.0.read().unwrap_or_else(PoisonError::into_inner);
        edges[turn % edges.len()].clone()
    }

    fn set(&self, at: usize, url: String) {
        let mut edges = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if at < edges.len() { edges[at] = url } else { edges.push(url) }
    }
}

impl StandPlan {
    /// The settings of the queue `probe`, as tests have it.
    #[must_use]
    pub fn probe() -> QueueSettings {
        QueueSettings::new("probe")
    }

    /// Makes the queue, starts every program and waits until all are ready.
    ///
    /// # Panics
    /// When one of them does not become ready.
    pub async fn start(self) -> Stand {
        let file = self.folder.join("queues.toml");
        queues::write(&file, &BTreeMap::from([("probe".to_owned(), self.queue.clone())]));
        let mut stand =
            Stand { workers: Vec::new(), dispatchers: Vec::new(), edges: Edges::default(), plan: self.clone() };
        let mut provisioned = stand.command(&["provision", "--queues", &file.display().to_string()]).await;
        // On a busy machine three servers take a while to agree, and `provision` says so; what it has made it finds again.
        for _ in 0..PROVISION_AGAIN_MAX {
            if provisioned.status.code() != Some(LATER) {
                break;
            }
            provisioned = stand.command(&["provision", "--queues", &file.display().to_string()]).await;
        }
        assert!(provisioned.status.success(), "{}", String::from_utf8_lossy(&provisioned.stderr));
        for (at, broker) in self.dispatchers.iter().enumerate() {
            let spec = self.dispatcher_spec(at, broker);
            stand.dispatchers.push(Dispatcher { process: Process::start(&spec, &self.folder), spec });
        }
        for broker in &self.workers {
            stand.launch_worker(broker, self.slots);
        }
        for at in 0..stand.dispatchers.len() {
            stand.dispatcher_ready(at).await;
        }
        for worker in &mut stand.workers {
            worker.ready().await;
        }
        stand
    }

    fn dispatcher_spec(&self, at: usize, broker: &str) -> Spec {
        let name = format!("dispatcher-{at}");
        let addresses = self.folder.join(format!("{name}.json"));
        program_spec(&name, "workfleet", broker)
            .argument("serve")
            .variable("WORKFLEET_HTTP_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_GRPC_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_ADDR_FILE", addresses.display().to_string())
    }
}

impl Stand {
    /// Where the dispatchers listen, now and later.
    #[must_use]
    pub fn edges(&self) -> Edges {
        self.edges.clone()
    }

    /// How many dispatchers there are.
    #[must_use]
    pub fn dispatchers(&self) -> usize {
        self.dispatchers.len()
    }

    /// The process id of a dispatcher.
    #[must_use]
    pub fn dispatcher_pid(&self, at: usize) -> u32 {
        self.dispatchers[at].process.pid()
    }

    /// SIGKILL for a dispatcher, and a new process in its place, on other ports, ready.
    pub async fn replace_dispatcher(&mut self, at: usize) {
        let folder = self.plan.folder.clone();
        let dispatcher = &mut self.dispatchers[at];
        dispatcher.process.kill();
        let _ = std::fs::remove_file(folder.join(format!("{}.json", dispatcher.spec.name)));
        dispatcher.process = Process::start(&dispatcher.spec, &folder);
        self.dispatcher_ready(at).await;
    }

    /// Starts one more worker and does not wait for it.
    pub fn launch_worker(&mut self, broker: &str, slots: usize) {
        let name = format!("probe-{}", self.workers.len());
        let spec = program_spec(&name, "workfleet-probe", broker)
            .variable("WORKFLEET_ADMIN_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_SLOTS", slots.to_string());
        self.workers.push(Worker::launch(spec, &self.plan.folder));
    }

    /// Runs `workfleet` with these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(arguments).env("WORKFLEET_NATS_URL", &self.plan.direct);
        if !self.dispatchers.is_empty() {
            command.env("WORKFLEET_URL", self.edges.of_turn(0));
        }
        command.kill_on_drop(true).output().await.expect("the program starts")
    }

    /// The file in which handlers say when they start and end.
    #[must_use]
    pub fn runs_file(&self) -> PathBuf {
        self.plan.folder.join("runs")
    }

    /// Every execution so far.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        runs::read(&self.runs_file())
    }

    async fn dispatcher_ready(&mut self, at: usize) {
        let dispatcher = &mut self.dispatchers[at];
        let file = self.plan.folder.join(format!("{}.json", dispatcher.spec.name));
        let url = eventually("a dispatcher is ready", async || {
            dispatcher.process.must_run();
            ready_at(&file).await
        })
        .await;
        self.edges.set(at, url);
    }
}

async fn ready_at(file: &Path) -> Option<String> {
    let url = format!("http://{}", address(file, "http")?);
    let answer = get(format!("{url}/readyz")).await.ok()?;
    answer.status().is_success().then_some(url)
}

fn program_spec(name: &str, binary: &str, broker: &str) -> Spec {
    Spec::new(name, program(binary))
        .variable("RUST_LOG", "info")
        .variable("RUST_BACKTRACE", "1")
        .variable("WORKFLEET_NATS_URL", broker)
}
