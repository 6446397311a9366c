//! Where a demo's mails and webhooks arrive: a small SMTP server that writes each mail to a file, and a small HTTP server
//! that checks the signature of each webhook and writes one line about it.
//!
//! They are processes of their own, as the real receivers are: what the workers do then crosses a real connection, and
//! tests can let a receiver refuse, hang or die. SMTP servers that could be embedded exist, but they hide the very
//! things that a test wants to do wrong; the part of the protocol that is needed here is a page.
//!
//! Both are for loopback and for tests: neither does TLS, and the mail sink believes every password.

pub(crate) mod mail;
mod rule;
mod smtp;
mod store;
pub(crate) mod webhook;

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;

use crate::error::LocalError;

pub(crate) use rule::Rule;

/// Variable that names the file in which a process says where it listens, as for every other member of a fleet.
const ADDR_FILE: &str = "WORKFLEET_ADDR_FILE";

/// Listens, and says where, in the file that `WORKFLEET_ADDR_FILE` names.
async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, LocalError> {
    let failed = |source| LocalError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if let Some(path) = std::env::var_os(ADDR_FILE) {
        announce(Path::new(&path), key, address).map_err(LocalError::file(&path))?;
    }
    Ok(listener)
}

/// Renamed into place, so that nobody reads half a file.
fn announce(path: &Path, key: &str, address: SocketAddr) -> std::io::Result<()> {
    let half = path.with_extension("half");
    std::fs::write(&half, serde_json::json!({ key: address.to_string() }).to_string())?;
    std::fs::rename(half, path)
}
