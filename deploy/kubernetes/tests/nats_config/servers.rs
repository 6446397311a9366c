//! Servers that run with it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::config::{Ports, SERVERS, adapt, credentials, free_ports, merged, nats_server, write};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    ports: Ports,
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(name: &str, config: &Path, ports: Ports, folder: &Path) -> Self {
        let log = folder.join("log");
        let out = fs::File::create(&log).expect("a temporary folder takes files");
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(config).env("POD_NAME", name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        Self { ports, child: command.spawn().expect("nats-server starts"), log }
    }

    /// What its monitoring port answers; `None` while it does not.
    pub(crate) async fn monitor(&self, path: &str) -> Option<Value> {
        let client =
            reqwest::Client::builder().tls_backend_preconfigured(workfleet_link::tls::nobody()).build().ok()?;
        let answer = client.get(format!("http://127.0.0.1:{}{path}", self.ports.monitor)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// What it says to a client that connects without TLS, until it cuts it off.
    ///
    /// # Panics
    /// When it does not.
    pub(crate) async fn speak_in_clear(&self) -> String {
        let port = self.ports.client;
        let speak = move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
            stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").expect("it reads");
            let mut said = Vec::new();
            match stream.read_to_end(&mut said) {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it was not cut off: {error}"),
                Ok(_) | Err(_) => String::from_utf8_lossy(&said).into_owned(),
            }
        };
        tokio::task::spawn_blocking(speak).await.expect("it is cut off")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // The error says that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(3_000);
            let text = log.get(from..).unwrap_or(&log);
            let _ = writeln!(std::io::stderr(), "--- {}\n{text}", self.log.display());
        }
    }
}

/// Who has a certificate and wants to be a route.
pub(crate) struct Stranger<'a> {
    /// The host that its certificate is for.
    pub(crate) name: &'a str,
    /// Who has signed that.
    pub(crate) authority: &'a Authority,
    /// What a server writes down when it does not let it in.
    pub(crate) refusal: &'a str,
}

/// The three servers of `nats-cluster` with `tls`.
pub(crate) struct Cluster {
    // Before the folder, so that they end before it is removed.
    pub(crate) servers: Vec<Server>,
    ports: Vec<Ports>,
    authority: Authority,
    folder: TempDir,
}

impl Cluster {
    /// Starts them, and waits until they are one.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("there is room for temporary files");
        credentials(&folder.path().join("roles"));
        let ports = free_ports(SERVERS);
        let mut cluster = Self { servers: Vec::new(), ports, authority: Authority::new(), folder };
        cluster.authority.write(cluster.folder());
        for number in 0..SERVERS {
            let certificate = (&cluster.authority, "localhost");
            let server = cluster.server(&format!("nats-{number}"), cluster.ports[number], certificate);
            cluster.servers.push(server);
        }
        for server in &cluster.servers {
            eventually("the server is ready, as its pod's probe asks", async || {
                (server.monitor("/healthz").await?["status"] == "ok").then_some(())
            })
            .await;
        }
        cluster
    }

    fn server(&self, name: &str, ports: Ports, certificate: (&Authority, &str)) -> Server {
        let folder = self.folder().join(name);
        let mut files = merged(&["nats-cluster", "tls"]);
        adapt(&mut files, ports, &self.ports, &folder);
        let (authority, host) = certificate;
        authority.sign(&[host], &folder.join("tls"));
        // It trusts the fleet's own authority, whoever has signed for it.
        self.authority.write(&folder.join("tls"));
        let config = write(&files, &self.folder().join("roles/auth.conf"), &folder);
        Server::start(name, &config, ports, &folder)
    }

    /// Starts a fourth server with the same configuration and another certificate.
    pub(crate) async fn join(&self, stranger: &Stranger<'_>) -> Server {
        let ports = free_ports(1)[0];
        let server = self.server("nats-3", ports, (stranger.authority, stranger.name));
        eventually("the stranger listens", async || server.monitor("/varz").await).await;
        server
    }

    /// Until a server of the cluster has written why it lets a route not in.
    pub(crate) async fn wait_for_refusal(&self, stranger: &Stranger<'_>) {
        let refused = |server: &Server| server.log().contains(stranger.refusal);
        eventually(stranger.refusal, async || self.servers.iter().any(refused).then_some(())).await;
    }

    /// Number of the server that leads JetStream.
    pub(crate) async fn leader(&self) -> usize {
        let jsz = self.servers[0].monitor("/jsz").await.expect("the server answers");
        let name = jsz["meta_cluster"]["leader"].as_str().expect("there is a leader");
        name.trim_start_matches("nats-").parse().expect("it is named as its pod")
    }

    /// Addresses of all, as `WORKFLEET_NATS_URL` takes them.
    pub(crate) fn url(&self) -> String {
        let urls = self.ports.iter().map(|ports| format!("nats://localhost:{}", ports.client));
        urls.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn seed(&self, role: &str) -> PathBuf {
        self.folder().join("roles").join(format!("{role}.nk"))
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
