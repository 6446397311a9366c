//! Tells whoever started this process where it listens.
//!
//! A process on port 0 gets a free port without a race; a file that appears when it listens is a condition to wait for.
//! The alternative, reading a port from a log line, breaks with the first change of a sentence.

use std::net::SocketAddr;
use std::path::Path;

/// Variable that names the file.
pub const ADDR_FILE: &str = "WORKFLEET_ADDR_FILE";

/// Writes `{"http":"127.0.0.1:8080",...}` to the file that [`ADDR_FILE`] names; does nothing where it names none.
///
/// # Errors
/// When the file cannot be written.
pub fn announce(addresses: &[(&str, SocketAddr)]) -> std::io::Result<()> {
    let Some(path) = std::env::var_os(ADDR_FILE) else { return Ok(()) };
    write(Path::new(&path), addresses)
}

fn write(path: &Path, addresses: &[(&str, SocketAddr)]) -> std::io::Result<()> {
    let object: serde_json::Map<String, serde_json::Value> =
        addresses.iter().map(|(name, address)| ((*name).to_owned(), address.to_string().into())).collect();
    // Renamed into place, so that nobody reads half a file.
    let half = path.with_extension("half");
    std::fs::write(&half, serde_json::Value::Object(object).to_string())?;
    std::fs::rename(half, path)
}
