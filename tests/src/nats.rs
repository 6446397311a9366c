//! The broker: the pinned nats-server on a port and a store of its own.

use std::path::{Path, PathBuf};

use async_nats::jetstream;
use serde_json::Value;

use crate::place::tool;
use crate::process::{Process, Spec};
use crate::wait::eventually;

/// A nats-server that can be killed and started again with what it had stored.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl Nats {
    /// Starts one that keeps its files and its log in `folder`.
    ///
    /// # Panics
    /// When `make tools` has not brought the server, or it does not start.
    pub async fn start(folder: &Path) -> Self {
        let process = launch(folder, None);
        let ports = folder.join(format!("nats-server_{}.ports", process.pid()));
        let port = eventually("nats-server writes its port", async || port_in(&ports)).await;
        let nats = Self { process, folder: folder.to_owned(), port };
        nats.answers().await;
        nats
    }

    /// Where it listens, as `WORKFLEET_NATS_URL` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process, to be frozen.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a kill, with the same port and the same store.
    pub async fn restart(&mut self) {
        self.process = launch(&self.folder, Some(self.port));
        self.answers().await;
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    /// When the server is down.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = async_nats::connect(self.url()).await.expect("the server accepts connections");
        jetstream::new(client)
    }

    async fn answers(&self) {
        let url = self.url();
        let client = eventually("nats-server accepts", async || async_nats::connect(&url).await.ok()).await;
        // The port opens before streams are recovered; the account's API answers after.
        let jetstream = jetstream::new(client);
        eventually("JetStream answers", async || jetstream.query_account().await.ok()).await;
    }
}

/// Without a port the server takes a free one and writes it down: to look for one first would be a race with the fleets
/// of other tests.
fn launch(folder: &Path, port: Option<u16>) -> Process {
    let server = tool("nats-server").unwrap_or_else(|| panic!("no .tools/bin/nats-server; `make tools` brings it"));
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let spec = Spec::new("nats", server)
        .argument("--addr=127.0.0.1")
        .argument(format!("--port={port}"))
        .argument("--jetstream")
        .argument(format!("--store_dir={}", folder.join("store").display()))
        .argument(format!("--ports_file_dir={}", folder.display()));
    Process::start(&spec, folder)
}

/// `{"nats":["nats://127.0.0.1:4222"]}`
fn port_in(file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
