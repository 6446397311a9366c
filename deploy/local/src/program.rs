//! One program of the fleet: its words, its variables, and when it counts as ready.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;

/// How often a process is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// How long one such question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Nats,
    Jaeger,
    /// What stands for the world outside.
    Sink,
    Dispatcher,
    Worker,
}

/// A program as it is started, again and again, under one name.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The queue, for a worker.
    pub(crate) queue: Option<String>,
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(&'static str, OsString)>,
    pub(crate) probe: Probe,
}

/// How to see that a process is ready.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// It writes a file with its process id in the name: nobody else's port can be taken for its own.
    PortsFile { folder: PathBuf },
    /// It writes its addresses to `file`, and answers 200 to `/readyz` at the one called `key`.
    Ready { file: PathBuf, key: &'static str },
    /// It accepts connections.
    Accepts(SocketAddr),
}

impl Probe {
    /// Forgets an earlier life.
    pub(crate) fn reset(&self) {
        if let Self::Ready { file, .. } = self {
            let _ = std::fs::remove_file(file);
        }
    }

    /// Waits until process `pid` is ready; gives where it answers `/readyz`, if it does.
    pub(crate) async fn ready(&self, pid: u32) -> Option<String> {
        // A proxy that the environment names is for the world, not for loopback.
        let client = reqwest::Client::builder().timeout(PROBE_TIMEOUT).no_proxy().build().unwrap_or_default();
        loop {
            match self {
                Self::PortsFile { folder } => {
                    if folder.join(format!("nats-server_{pid}.ports")).exists() {
                        return None;
                    }
                }
                Self::Accepts(address) => {
                    if TcpStream::connect(address).await.is_ok() {
                        return None;
                    }
                }
                Self::Ready { file, key } => {
                    if let Some(url) = admin(file, key)
                        && answers(&client, &url).await
                    {
                        return Some(url);
                    }
                }
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

fn admin(file: &Path, key: &str) -> Option<String> {
    let text = std::fs::read(file).ok()?;
    let addresses: BTreeMap<String, SocketAddr> = serde_json::from_slice(&text).ok()?;
    addresses.get(key).map(|address| format!("http://{address}"))
}

async fn answers(client: &reqwest::Client, url: &str) -> bool {
    client.get(format!("{url}/readyz")).send().await.is_ok_and(|response| response.status().is_success())
}
