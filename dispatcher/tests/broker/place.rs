//! A real broker in a folder of its own, with a dispatcher inside the test's process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_dispatcher::streams::{self, ProvisionError, Report};
use workfleet_dispatcher::{Dispatcher, Options, Payload, Submit};
use workfleet_link::broker::BrokerConfig;

/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(60);
const SERVER_FILE: &str = "server.conf";

pub(crate) struct Place {
    nats: Child,
    folder: tempfile::TempDir,
    port: u16,
    pub(crate) dispatcher: Dispatcher,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.nats.kill();
        let _ = self.nats.wait();
    }
}

impl Place {
    /// A broker with the queue `thumbnail`, and `settings` for it.
    pub(crate) async fn start(settings: &str) -> Self {
        Self::start_with("", settings).await
    }

    /// The same with a configuration of the server's own.
    pub(crate) async fn start_with(server: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(SERVER_FILE), server).expect("a file");
        let (nats, port) = start_nats(folder.path(), None).await;
        let config = config(port, "");
        let dispatcher = eventually("the broker answers", async || Dispatcher::connect(&config).await.ok()).await;
        let place = Self { nats, folder, port, dispatcher };
        place.provision(settings).await;
        place
    }

    /// Provisions the queue `thumbnail` with these settings.
    pub(crate) async fn provision(&self, settings: &str) -> Report {
        self.try_provision(settings).await.expect("provisioned")
    }

    pub(crate) async fn try_provision(&self, settings: &str) -> Result<Report, ProvisionError> {
        streams::provision(self.dispatcher.broker(), &self.file(settings)).await
    }

    /// A queues file with the queue `thumbnail`, and `settings` for it.
    pub(crate) fn file(&self, settings: &str) -> QueuesFile {
        let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/kinds/thumbnail.proto");
        // Streams reserve their full size, and several servers share a machine.
        let small = "tasks_bytes_max = 268435456\nresults_bytes_max = 268435456\nblobs_bytes_max = 268435456";
        let text = format!("[defaults]\n{small}\n[queue.thumbnail]\nproto = {proto:?}\n{settings}");
        let path = self.folder.path().join("queues.toml");
        std::fs::write(&path, text).expect("a file");
        QueuesFile::read(&path).expect("no mistakes")
    }

    /// How to connect; `login` is `user:password@`.
    pub(crate) fn config(&self, login: &str) -> BrokerConfig {
        config(self.port, login)
    }

    /// Another kind, whose input is written like a thumbnail's.
    pub(crate) fn mail_proto(&self) -> PathBuf {
        let text = "syntax = \"proto3\"; package acme.mail.v1; service Mail { rpc Run(MailIn) returns (MailOut); } \
                    message MailIn { uint32 width_px = 1; } message MailOut {}";
        let path = self.folder.path().join("mail.proto");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// SIGKILL.
    pub(crate) fn kill_broker(&mut self) {
        self.nats.kill().expect("it runs");
        self.nats.wait().expect("it ends");
    }

    /// `STOP`: it keeps its connections and answers nothing. `CONT`: it goes on.
    pub(crate) fn signal_broker(&self, signal: &str) {
        let pid = self.nats.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill is there");
        assert!(sent.success(), "{signal}");
    }

    /// Starts the broker again with what it had stored.
    pub(crate) async fn start_broker(&mut self) {
        self.nats = start_nats(self.folder.path(), Some(self.port)).await.0;
        let broker = self.dispatcher.broker();
        eventually("the broker is back", async || broker.is_connected().then_some(())).await;
        eventually("JetStream is back", async || broker.jetstream.query_account().await.ok()).await;
    }

    /// What a stream holds.
    pub(crate) async fn messages(&self, stream: &str) -> u64 {
        self.info(stream).await["state"]["messages"].as_u64().expect("a stream")
    }

    pub(crate) async fn info(&self, stream: &str) -> Value {
        let subject = format!("STREAM.INFO.{stream}");
        self.dispatcher.broker().jetstream.request(subject, &()).await.expect("an answer")
    }
}

fn config(port: u16, login: &str) -> BrokerConfig {
    BrokerConfig::new(format!("nats://{login}127.0.0.1:{port}"), "test")
}

/// A submit to `thumbnail` of a thumbnail so wide.
pub(crate) fn wide(width_px: u32, key: Option<&str>, options: Options) -> Submit {
    Submit {
        queue: "thumbnail".to_owned(),
        payload: Payload::Json(Bytes::from(format!("{{\"width_px\":{width_px}}}"))),
        idempotency_key: key.map(ToOwned::to_owned),
        wait: None,
        options,
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < WAIT_MAX, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without a port the server takes a free one and writes it down.
async fn start_nats(folder: &Path, port: Option<u16>) -> (Child, u16) {
    let server = server();
    let mut command = Command::new(&server);
    command
        .args(["--addr=127.0.0.1", "--jetstream"])
        .arg(format!("--port={}", port.map_or("-1".to_owned(), |port| port.to_string())))
        .arg(format!("--config={}", folder.join(SERVER_FILE).display()))
        .arg(format!("--store_dir={}", folder.join("store").display()))
        .arg(format!("--ports_file_dir={}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", server.display()));
    let ports = folder.join(format!("nats-server_{}.ports", child.id()));
    let port = eventually("the server writes its port", async || {
        let ports: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
        ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
    });
    (child, port.await)
}

fn server() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server")
}
