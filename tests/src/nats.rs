//! The broker: the pinned nats-server on a port and a store of its own.

use std::path::{Path, PathBuf};

use async_nats::{Client, ConnectError, ConnectOptions, jetstream};
use serde_json::Value;

use crate::authority::Authority;
use crate::cluster::Broker;
use crate::keys::Keys;
use crate::place::tool;
use crate::process::{Process, Spec};
use crate::wait::eventually;

/// A nats-server that can be killed and started again with what it had stored.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    folder: PathBuf,
    port: u16,
    keys: Option<Keys>,
    authority: Option<Authority>,
    configuration: Option<PathBuf>,
}

impl Nats {
    /// Starts one that keeps its files and its log in `folder`.
    ///
    /// # Panics
    /// When `make tools` has not brought the server, or it does not start.
    pub async fn start(folder: &Path) -> Self {
        Self::launched(folder, None, None).await
    }

    /// Starts one that knows these keys and nobody else; without any, it takes everybody.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(folder: &Path, keys: Option<Keys>) -> Self {
        Self::launched(folder, keys, None).await
    }

    /// Starts one that speaks TLS alone.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_over_tls(folder: &Path, authority: &Authority) -> Self {
        Self::launched(folder, None, Some(authority.clone())).await
    }

    /// Starts one that takes everybody, with more in its configuration.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_configured(folder: &Path, text: &str) -> Self {
        let path = folder.join("more.conf");
        std::fs::write(&path, text).expect("a temporary folder takes files");
        Self::launched_configured(folder, None, None, Some(path)).await
    }

    pub(crate) async fn launched(folder: &Path, keys: Option<Keys>, authority: Option<Authority>) -> Self {
        Self::launched_configured(folder, keys, authority, None).await
    }

    async fn launched_configured(
        folder: &Path,
        keys: Option<Keys>,
        authority: Option<Authority>,
        configuration: Option<PathBuf>,
    ) -> Self {
        let process = launch(folder, None, keys.as_ref(), authority.as_ref(), configuration.as_deref());
        let ports = folder.join(format!("nats-server_{}.ports", process.pid()));
        let port = eventually("nats-server writes its port", async || port_in(&ports)).await;
        let nats = Self { process, folder: folder.to_owned(), port, keys, authority, configuration };
        nats.answers().await;
        nats
    }

    /// The keys that it knows, if it knows anybody.
    #[must_use]
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// What somebody tried and was not permitted, from the server's own log.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.process.log().lines().filter(|line| line.contains("Violation")).map(ToOwned::to_owned).collect()
    }

    /// Where it listens, as `WORKFLEET_NATS_URL` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it can be asked over HTTP: `/varz`, `/jsz`, `/connz`.
    ///
    /// # Panics
    /// When it has not written down where that is.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        let file = self.folder.join(format!("nats-server_{}.ports", self.process.pid()));
        let ports: Value =
            std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        ports["monitoring"][0].as_str().expect("it has a monitoring port").to_owned()
    }

    /// From its next start on, another authority vouches for it.
    pub fn vouched_for_by(&mut self, authority: &Authority) {
        self.authority = Some(authority.clone());
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
        let (port, configuration) = (Some(self.port), self.configuration.as_deref());
        self.process = launch(&self.folder, port, self.keys.as_ref(), self.authority.as_ref(), configuration);
        self.answers().await;
    }

    /// A connection of the test's own; where keys are needed, with that of `provision`.
    ///
    /// # Panics
    /// When the server is down.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.connect().await.expect("the server accepts connections"))
    }

    async fn connect(&self) -> Result<Client, ConnectError> {
        let mut options = match &self.keys {
            Some(keys) => keys.options("provision"),
            None => ConnectOptions::new(),
        };
        if let Some(authority) = &self.authority {
            options = options.add_root_certificates(authority.ca_file()).require_tls(true);
        }
        options.connect(self.url()).await
    }

    async fn answers(&self) {
        let client = eventually("nats-server accepts", async || self.connect().await.ok()).await;
        // The port opens before streams are recovered; the API answers after, if only that there is no such stream.
        let asked = async || client.request("$JS.API.STREAM.INFO.none", "".into()).await.ok();
        eventually("JetStream answers", asked).await;
    }
}

impl Broker for Nats {
    fn keys(&self) -> Option<&Keys> {
        Self::keys(self)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let ca_file = self.authority.as_ref().map(|authority| authority.ca_file().display().to_string());
        let trusted = ca_file.map(|path| ("WORKFLEET_NATS_CA_FILE", path));
        [("WORKFLEET_NATS_URL", self.url())].into_iter().chain(trusted).collect()
    }

    async fn jetstream(&self) -> jetstream::Context {
        Self::jetstream(self).await
    }

    fn replicas(&self) -> usize {
        1
    }
}

/// Without a port the server takes a free one and writes it down: to look for one first would be a race with the fleets
/// of other tests.
fn launch(
    folder: &Path,
    port: Option<u16>,
    keys: Option<&Keys>,
    authority: Option<&Authority>,
    configuration: Option<&Path>,
) -> Process {
    let server = tool("nats-server").unwrap_or_else(|| panic!("no .tools/bin/nats-server; `make tools` brings it"));
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let mut spec = Spec::new("nats", server)
        .argument("--addr=127.0.0.1")
        .argument(format!("--port={port}"))
        .argument("--jetstream")
        .argument("--http_port=-1")
        .argument(format!("--store_dir={}", folder.join("store").display()))
        .argument(format!("--ports_file_dir={}", folder.display()));
    let keys = keys.map(Keys::write_server_configuration);
    if let Some(authority) = authority {
        spec = spec
            .argument(format!("--config={}", write_tls_configuration(folder, keys.as_deref(), authority).display()));
    } else if let Some(configuration) = keys.as_deref().or(configuration) {
        spec = spec.argument(format!("--config={}", configuration.display()));
    }
    Process::start(&spec, folder)
}

/// Also what is in another configuration, and TLS. The server's flag `--tls` would do it too, and then the server says
/// that no account has JetStream.
fn write_tls_configuration(folder: &Path, other: Option<&Path>, authority: &Authority) -> PathBuf {
    let (certificate, key) = authority.pair();
    let other = other.and_then(Path::file_name).map(|name| format!("include {name:?}\n")).unwrap_or_default();
    let path = folder.join("tls.conf");
    let text = format!("{other}tls {{\n  cert_file: {certificate:?}\n  key_file: {key:?}\n}}\n");
    std::fs::write(&path, text).expect("a temporary folder takes files");
    path
}

/// `{"nats":["nats://127.0.0.1:4222"]}`
fn port_in(file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
