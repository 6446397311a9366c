//! `fleet.json`: where everything is, for scripts. Renamed into place at every change, so that it is always whole.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::program::Role;
use crate::roster::{Addresses, SinkAddress};

/// The file's content; the names are a promise to scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    http: String,
    grpc: String,
    nats: String,
    /// Where NATS tells its settings.
    nats_monitor: String,
    jaeger: Option<String>,
    /// Every mail that the fleet sends, as files.
    mails: Option<String>,
    /// Where webhooks can be sent to.
    webhook_receiver: Option<String>,
    /// A line of JSON for each that came.
    webhooks: Option<String>,
    data: String,
    pub(crate) processes: Vec<ReportedProcess>,
}

/// A process that runs now.
#[derive(Debug, Serialize)]
pub(crate) struct ReportedProcess {
    pub(crate) role: Role,
    /// The queue's name, for a worker.
    pub(crate) kind: Option<String>,
    pub(crate) pid: u32,
    /// Where `/livez`, `/readyz` and `/metrics` are, once it is ready.
    pub(crate) admin: Option<String>,
}

impl Report {
    pub(crate) fn new(addresses: &Addresses, data: &Path, processes: Vec<ReportedProcess>) -> Self {
        let received = |sink: &Option<SinkAddress>| Some(sink.as_ref()?.received.display().to_string());
        let receiver = addresses.webhook_receiver.as_ref();
        Self {
            http: format!("http://{}", addresses.http),
            grpc: format!("http://{}", addresses.grpc),
            nats: format!("nats://{}", addresses.nats),
            nats_monitor: format!("http://{}", addresses.nats_monitor),
            jaeger: addresses.jaeger.map(|jaeger| format!("http://{}", jaeger.query)),
            mails: received(&addresses.mail_sink),
            webhook_receiver: receiver.map(|receiver| format!("http://{}", receiver.address)),
            webhooks: received(&addresses.webhook_receiver),
            data: data.display().to_string(),
            processes,
        }
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let half = path.with_extension("json.half");
        std::fs::write(&half, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(half, path)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Report, ReportedProcess};
    use crate::program::Role;
    use crate::roster::{Addresses, SinkAddress};

    #[test]
    fn the_file_is_what_scripts_were_promised() {
        let addresses = Addresses {
            nats: "127.0.0.1:4222".parse().unwrap(),
            nats_monitor: "127.0.0.1:8222".parse().unwrap(),
            http: "127.0.0.1:8080".parse().unwrap(),
            grpc: "127.0.0.1:8081".parse().unwrap(),
            jaeger: None,
            mail_sink: None,
            webhook_receiver: Some(SinkAddress {
                address: "127.0.0.1:8082".parse().unwrap(),
                received: "/data/webhooks.jsonl".into(),
            }),
        };
        let worker = ReportedProcess {
            role: Role::Worker,
            kind: Some("thumbnail".to_owned()),
            pid: 7,
            admin: Some("http://127.0.0.1:9".to_owned()),
        };
        let nats = ReportedProcess { role: Role::Nats, kind: None, pid: 6, admin: None };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.json");
        Report::new(&addresses, Path::new("/data"), vec![nats, worker]).write(&path).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::json!({
                "http": "http://127.0.0.1:8080", "grpc": "http://127.0.0.1:8081", "nats": "nats://127.0.0.1:4222",
                "nats_monitor": "http://127.0.0.1:8222", "jaeger": null, "mails": null, "webhook_receiver": "http://127.0.0.1:8082",
                "webhooks": "/data/webhooks.jsonl", "data": "/data",
                "processes": [
                    {"role": "nats", "kind": null, "pid": 6, "admin": null},
                    {"role": "worker", "kind": "thumbnail", "pid": 7, "admin": "http://127.0.0.1:9"},
                ],
            })
        );
    }
}
