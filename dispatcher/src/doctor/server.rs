//! A server's own settings, as it tells them.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A server, from its `/varz`, or from the same over the account of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// What it calls itself since its start: the same that it greets clients with.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it writes to its disk.
    pub sync: SyncTime,
    /// Largest message, in bytes.
    pub payload_bytes_max: u64,
    /// How much its streams may be, in bytes; 0: it does not say.
    pub store_bytes_max: u64,
    /// How much is promised to streams, in bytes.
    pub store_bytes_reserved: u64,
    /// How much they are, in bytes.
    pub store_bytes: u64,
    /// Streams and consumers of which it is a replica.
    pub replicated_assets: u64,
    /// Servers of its cluster, where it knows.
    pub cluster_size: Option<u64>,
}

/// When a server writes what it stores to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncTime {
    /// Before it says that it has it.
    Always,
    /// Every so many nanoseconds.
    Every(u64),
    /// It does not say.
    Unknown,
}

impl Server {
    /// Reads a `/varz`; nothing where it is none, or of a server without JetStream.
    #[must_use]
    pub fn read(varz: &Value) -> Option<Self> {
        let jetstream = varz.get("jetstream")?;
        let (config, stats) = (jetstream.get("config")?, &jetstream["stats"]);
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let sync = match (config["sync_always"].as_bool(), config["sync_interval"].as_u64()) {
            (Some(true), _) => SyncTime::Always,
            (_, Some(interval)) if interval > 0 => SyncTime::Every(interval),
            _ => SyncTime::Unknown,
        };
        Some(Self {
            id: varz["server_id"].as_str()?.to_owned(),
            name: varz["server_name"].as_str()?.to_owned(),
            version: varz["version"].as_str()?.to_owned(),
            sync,
            payload_bytes_max: number(&varz["max_payload"]),
            store_bytes_max: number(&config["max_storage"]),
            store_bytes_reserved: number(&stats["reserved_storage"]),
            store_bytes: number(&stats["storage"]),
            replicated_assets: number(&stats["ha_assets"]),
            cluster_size: jetstream["meta"]["cluster_size"].as_u64(),
        })
    }
}

impl fmt::Display for SyncTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Every(ns) => write!(f, "{}", humantime::format_duration(std::time::Duration::from_nanos(*ns))),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Serialize for SyncTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Server, SyncTime};
    use serde_json::json;

    #[test]
    fn a_server_says_when_it_writes_to_its_disk_or_it_is_not_known() {
        let server = |config: serde_json::Value| {
            Server::read(
                &json!({"server_id": "A", "server_name": "a", "version": "2.15.1", "jetstream": {"config": config}}),
            )
        };
        let sync = |config| server(config).expect("a server").sync;
        assert_eq!(sync(json!({"sync_interval": 120_000_000_000_u64, "sync_always": true})), SyncTime::Always);
        assert_eq!(sync(json!({"sync_interval": 120_000_000_000_u64})).to_string(), "2m");
        assert_eq!(sync(json!({})), SyncTime::Unknown);
        assert_eq!(Server::read(&json!({"server_name": "a", "version": "2.15.1"})), None, "no JetStream");
    }
}
