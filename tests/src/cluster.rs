//! The broker as in production: three nats-servers that are one JetStream cluster, each a process of its own.
//!
//! Ports come from below those that the kernel gives to outgoing connections: a server that is down for a moment must
//! find its ports free when it returns. One server can take any free port and write it down; servers of a cluster have
//! to name each other's before they start.

mod health;
mod node;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, jetstream};
use futures::future::join_all;

use crate::keys::Keys;
use crate::process::Process;
use crate::wait::eventually_within;
use node::Node;

/// Servers of a cluster.
pub const SERVERS: usize = 3;
/// How long a cluster may take to be well: recovery of streams, elections, catching up. Long, since it is only used up
/// by a test that fails.
pub(crate) const HEALTHY_TIME_MAX: Duration = Duration::from_secs(90);
/// Somebody else may take a port between the look and the start.
const STARTS_MAX: usize = 5;

/// Three servers, by their numbers 0 to 2. Each can be killed, frozen, and started again with what it had stored.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

/// What its servers are to be.
#[derive(Debug, Clone, Default)]
pub struct ClusterBuilder {
    sync: Fsync,
    file_bytes_max: Option<u64>,
}

/// When a server calls a write stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fsync {
    /// When the operating system has it: it survives a SIGKILL, and no loss of power.
    #[default]
    Later,
    /// When the disk has it.
    Always,
}

impl ClusterBuilder {
    /// Lets every server write to the disk before it answers, as in production.
    #[must_use]
    pub fn sync_always(self) -> Self {
        Self { sync: Fsync::Always, ..self }
    }

    /// Most bytes of streams on each server.
    #[must_use]
    pub fn file_bytes_max(self, bytes: u64) -> Self {
        Self { file_bytes_max: Some(bytes), ..self }
    }

    /// Starts the servers in `folder`, and waits until they are one.
    ///
    /// # Panics
    /// When `make tools` has not brought the server, or they do not find each other.
    pub async fn start(self, folder: &Path) -> Cluster {
        for _ in 0..STARTS_MAX {
            let mut cluster = Cluster { nodes: Node::plan(folder, &self) };
            cluster.nodes.iter_mut().for_each(Node::start);
            if cluster.comes_up().await {
                cluster.healthy().await;
                return cluster;
            }
        }
        panic!("somebody else takes every port that was free a moment ago");
    }
}

impl Cluster {
    /// Servers that differ.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Starts three in `folder`.
    ///
    /// # Panics
    /// As [`ClusterBuilder::start`].
    pub async fn start(folder: &Path) -> Self {
        Self::builder().start(folder).await
    }

    /// All addresses, as `WORKFLEET_NATS_URL` takes them.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// The address of one server.
    #[must_use]
    pub fn url_of(&self, server: usize) -> String {
        self.nodes[server].url()
    }

    /// Where one server can be asked over HTTP: `/jsz`, `/healthz`, `/connz`.
    #[must_use]
    pub fn monitor_url(&self, server: usize) -> String {
        self.nodes[server].monitor_url()
    }

    /// The process of one server.
    pub fn process(&mut self, server: usize) -> &mut Process {
        self.nodes[server].process()
    }

    /// A connection of the test's own, to any server that answers; it goes on with another when that one dies.
    ///
    /// # Panics
    /// When no server is up.
    pub async fn connect(&self) -> Client {
        let urls: Vec<String> = self.nodes.iter().map(Node::url).collect();
        ConnectOptions::new().connect(urls).await.expect("a server accepts connections")
    }

    /// A connection to one server and to no other.
    ///
    /// # Panics
    /// When it is down.
    pub async fn connect_to(&self, server: usize) -> Client {
        let options = ConnectOptions::new().ignore_discovered_servers();
        options.connect(self.url_of(server)).await.expect("the server accepts connections")
    }

    /// A connection to the account of the system: advisories of all accounts, the meta leader's API.
    ///
    /// # Panics
    /// When no server is up.
    pub async fn connect_to_system(&self) -> Client {
        let urls: Vec<String> = self.nodes.iter().map(Node::url).collect();
        let options = ConnectOptions::with_user_and_password(node::SYSTEM.to_owned(), node::SYSTEM.to_owned());
        options.connect(urls).await.expect("a server accepts connections")
    }

    /// The broker's API.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.connect().await)
    }

    /// SIGKILL.
    pub fn kill(&mut self, server: usize) {
        self.nodes[server].kill();
    }

    /// SIGSTOP: it keeps its connections, and the others elect new leaders.
    pub fn freeze(&mut self, server: usize) {
        self.nodes[server].process().freeze();
    }

    /// SIGCONT.
    pub fn thaw(&mut self, server: usize) {
        self.nodes[server].process().thaw();
    }

    /// SIGTERM, and waits until it has left: it hands its leaderships over first.
    pub async fn terminate(&mut self, server: usize) {
        self.nodes[server].process().terminate();
        self.nodes[server].process().left().await;
        self.nodes[server].kill();
    }

    /// Starts one that was killed, with its ports and its store, and does not wait.
    pub fn launch(&mut self, server: usize) {
        self.nodes[server].start();
    }

    /// Ends one if it still runs, starts it again, and waits until the cluster is healthy.
    pub async fn restart(&mut self, server: usize) {
        self.kill(server);
        self.launch(server);
        self.healthy().await;
    }

    /// Restarts them one after the other, as an upgrade does: SIGTERM, and the next only when all is well again.
    pub async fn rolling_restart(&mut self) {
        for server in 0..SERVERS {
            self.terminate(server).await;
            self.restart(server).await;
        }
    }

    /// Throws away what a server has stored: its disk is gone.
    ///
    /// # Panics
    /// When it runs.
    pub fn delete_store(&mut self, server: usize) {
        self.nodes[server].delete_store();
    }

    /// Whether a server runs.
    #[must_use]
    pub fn is_up(&self, server: usize) -> bool {
        self.nodes[server].is_up()
    }

    /// Those that run.
    #[must_use]
    pub fn up(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|server| self.is_up(*server)).collect()
    }

    /// What each server wrote that is a warning or worse.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let grave = |line: &&str| ["[WRN]", "[ERR]", "[FTL]"].iter().any(|level| line.contains(level));
        let logs: Vec<String> = self.nodes.iter().map(Node::log).collect();
        logs.iter().flat_map(|log| log.lines().filter(grave)).map(ToOwned::to_owned).collect()
    }

    /// Whether all answer, and none has left because its port was taken.
    async fn comes_up(&mut self) -> bool {
        let look = async || {
            if self.nodes.iter_mut().any(Node::has_left) {
                return Some(false);
            }
            let answers = join_all(self.nodes.iter().map(Node::answers)).await;
            answers.into_iter().all(|answers| answers).then_some(true)
        };
        eventually_within(HEALTHY_TIME_MAX, "three servers answer", look).await
    }
}

/// What a fleet runs on: one server, or three.
pub trait Broker: Send + Sync {
    /// The keys that it knows, if it knows anybody.
    fn keys(&self) -> Option<&Keys>;

    /// What a program needs to know to reach it, beside who the program is.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// A connection of the test's own.
    fn jetstream(&self) -> impl Future<Output = jetstream::Context> + Send;

    /// On how many servers a stream is to be.
    fn replicas(&self) -> usize;
}

impl Broker for Cluster {
    fn keys(&self) -> Option<&Keys> {
        None
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("WORKFLEET_NATS_URL", self.url())]
    }

    async fn jetstream(&self) -> jetstream::Context {
        Self::jetstream(self).await
    }

    fn replicas(&self) -> usize {
        SERVERS
    }
}

/// Ports of the loopback interface, each for one use.
fn ports(count: usize) -> Vec<u16> {
    let mut ports = BTreeMap::new();
    while ports.len() < count {
        let port = rand::random_range(PORTS);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.insert(port, ());
        }
    }
    ports.into_keys().collect()
}

/// Below those of outgoing connections, from 32768 on.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Where a server keeps its files.
fn folder_of(folder: &Path, server: usize) -> PathBuf {
    folder.join(format!("server-{server}"))
}
