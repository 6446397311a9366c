//! Who takes part, with which words and variables. What the supervisor's own environment says is passed on to all of
//! them, so that `RUST_LOG=debug workfleet-local up` does what one would think; only addresses are the fleet's own, and
//! where mails go and who signs webhooks, so that a look at the project can never write to somebody.

mod sinks;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::checkout::Programs;
use crate::data::Data;
use crate::error::LocalError;
use crate::ports::Ports;
use crate::program::{Probe, Program, Role};
use crate::terminal::Terminal;
pub(crate) use sinks::SinkAddress;
use sinks::Sinks;

/// The usual ports.
const NATS_PORT: u16 = 4222;
const NATS_MONITOR_PORT: u16 = 8222;
const HTTP_PORT: u16 = 8080;
const GRPC_PORT: u16 = 8081;
const JAEGER_OTLP_PORT: u16 = 4317;
const JAEGER_QUERY_PORT: u16 = 16686;
const MAIL_PORT: u16 = 2525;
const WEBHOOK_PORT: u16 = 8082;
const USUAL_PORTS: &[u16] =
    &[NATS_PORT, NATS_MONITOR_PORT, HTTP_PORT, GRPC_PORT, JAEGER_OTLP_PORT, JAEGER_QUERY_PORT, MAIL_PORT, WEBHOOK_PORT];
/// Where spans go, by the standard of OpenTelemetry.
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Jaeger's configuration; written to the fleet's folder, so that the program needs no checkout beside it.
const JAEGER_CONFIG: &str = include_str!("../jaeger/jaeger.yaml");

/// Who is where. Chosen once: a process that is started again must be found where it was.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) nats: SocketAddr,
    /// Where NATS tells its settings, without which `workfleet doctor` has no grade.
    pub(crate) nats_monitor: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) jaeger: Option<JaegerAddresses>,
    /// Where mails go; `None` without a worker that sends any.
    pub(crate) mail_sink: Option<SinkAddress>,
    /// A receiver for webhooks; `None` without a worker that delivers any.
    pub(crate) webhook_receiver: Option<SinkAddress>,
}

impl Addresses {
    /// What a shell has to be told for the commands of `workfleet`.
    pub(crate) fn exports(&self) -> String {
        let Self { http, nats, nats_monitor, .. } = self;
        format!(
            "export WORKFLEET_URL=http://{http} WORKFLEET_NATS_URL=nats://{nats} \
             WORKFLEET_NATS_MONITOR_URL=http://{nats_monitor}"
        )
    }
}

/// Where Jaeger is, if it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JaegerAddresses {
    pub(crate) otlp: SocketAddr,
    pub(crate) query: SocketAddr,
}

/// What a fleet is made of.
pub(crate) struct Cast {
    pub(crate) programs: Programs,
    pub(crate) queues_file: PathBuf,
    /// Queues with a worker here.
    pub(crate) workers: Vec<String>,
    /// Folder for what mails and webhooks come to.
    pub(crate) received: PathBuf,
    /// Variables that say where spans go; empty: to Jaeger, where it is.
    pub(crate) telemetry: Vec<(&'static str, OsString)>,
}

/// Makes the programs of one fleet.
#[derive(Debug)]
pub(crate) struct Roster {
    programs: Programs,
    pub(crate) addresses: Addresses,
    queues_file: PathBuf,
    folder: PathBuf,
    nats_store: PathBuf,
    sinks: Sinks,
    /// Variables for everybody who takes part in traces.
    telemetry: Vec<(&'static str, OsString)>,
    _ports: Ports,
}

impl Roster {
    /// Chooses ports. Spans go to Jaeger, unless `telemetry` or the environment says where to.
    pub(crate) fn new(cast: Cast, data: &Data, terminal: &Terminal) -> Result<Self, LocalError> {
        let Cast { programs, queues_file, workers, received, mut telemetry } = cast;
        let mut ports = Ports::for_usual(USUAL_PORTS);
        let mut take = |what, usual| ports.take(what, usual, terminal);
        let nats = take("NATS", NATS_PORT)?;
        let nats_monitor = take("NATS's monitoring", NATS_MONITOR_PORT)?;
        let http = take("the dispatcher's REST", HTTP_PORT)?;
        let grpc = take("the dispatcher's gRPC", GRPC_PORT)?;
        let jaeger = match programs.jaeger {
            Some(_) => {
                let otlp = take("Jaeger's OTLP", JAEGER_OTLP_PORT)?;
                Some(JaegerAddresses { otlp, query: take("Jaeger's query API", JAEGER_QUERY_PORT)? })
            }
            None => None,
        };
        let has_worker = |queue: &str| workers.iter().any(|worker| worker == queue);
        let sink = |address, file: &str| SinkAddress { address, received: received.join(file) };
        let mail_sink = match has_worker(sinks::MAIL_QUEUE) {
            true => Some(sink(take("the mail sink", MAIL_PORT)?, "mails")),
            false => None,
        };
        let webhook_receiver = match has_worker(sinks::WEBHOOK_QUEUE) {
            true => Some(sink(take("the webhook receiver", WEBHOOK_PORT)?, "webhooks.jsonl")),
            false => None,
        };
        if let (Some(jaeger), true, None) = (jaeger, telemetry.is_empty(), std::env::var_os(OTLP_ENDPOINT)) {
            telemetry.push((OTLP_ENDPOINT, format!("http://{}", jaeger.otlp).into()));
        }
        let addresses = Addresses { nats, nats_monitor, http, grpc, jaeger, mail_sink, webhook_receiver };
        let (folder, nats_store, sinks) = (data.run(), data.nats(), Sinks::new(&data.run())?);
        Ok(Self { programs, addresses, queues_file, folder, nats_store, sinks, telemetry, _ports: ports })
    }

    pub(crate) fn nats(&self) -> Program {
        let (address, monitor) = (self.addresses.nats, self.addresses.nats_monitor);
        let words: [OsString; 11] = [
            "--jetstream".into(),
            "--addr".into(),
            address.ip().to_string().into(),
            "--port".into(),
            address.port().to_string().into(),
            // On the same address: this port asks nobody for a key.
            "--http_port".into(),
            monitor.port().to_string().into(),
            "--store_dir".into(),
            self.nats_store.clone().into(),
            "--ports_file_dir".into(),
            self.folder.clone().into(),
        ];
        Program {
            name: "nats".to_owned(),
            role: Role::Nats,
            queue: None,
            executable: self.programs.nats.clone(),
            arguments: words.into(),
            variables: Vec::new(),
            probe: Probe::PortsFile { folder: self.folder.clone() },
        }
    }

    /// `None`: Jaeger is not built.
    pub(crate) fn jaeger(&self) -> Result<Option<Program>, LocalError> {
        let (Some(executable), Some(addresses)) = (self.programs.jaeger.clone(), self.addresses.jaeger) else {
            return Ok(None);
        };
        let config = self.folder.join("jaeger.yaml");
        std::fs::write(&config, JAEGER_CONFIG).map_err(LocalError::file(&config))?;
        Ok(Some(Program {
            name: "jaeger".to_owned(),
            role: Role::Jaeger,
            queue: None,
            executable,
            arguments: vec!["--config".into(), config.into()],
            variables: vec![
                ("JAEGER_OTLP_GRPC_PORT", addresses.otlp.port().to_string().into()),
                ("JAEGER_QUERY_HTTP_PORT", addresses.query.port().to_string().into()),
                ("JAEGER_LISTEN_HOST", addresses.otlp.ip().to_string().into()),
            ],
            probe: Probe::Accepts(addresses.otlp),
        }))
    }

    pub(crate) fn dispatcher(&self) -> Program {
        let Addresses { http, grpc, .. } = self.addresses;
        let file = self.address_file("dispatcher");
        let mut variables = self.variables(&file);
        variables.push(("WORKFLEET_HTTP_ADDR", http.to_string().into()));
        variables.push(("WORKFLEET_GRPC_ADDR", grpc.to_string().into()));
        Program {
            name: "dispatcher".to_owned(),
            role: Role::Dispatcher,
            queue: None,
            executable: self.programs.dispatcher.clone(),
            arguments: vec!["serve".into(), "--queues".into(), self.queues_file.clone().into()],
            variables,
            probe: Probe::Ready { file, key: "http" },
        }
    }

    pub(crate) fn worker(&self, queue: &str, number: u32) -> Result<Program, LocalError> {
        let name = format!("{queue}-{number}");
        let file = self.address_file(&name);
        let mut variables = self.variables(&file);
        variables.extend(self.sinks.needs(queue, &self.addresses));
        // Replicas cannot share an address, whatever the environment says.
        variables.push(("WORKFLEET_ADMIN_ADDR", "127.0.0.1:0".into()));
        Ok(Program {
            executable: self.programs.worker(queue)?,
            name,
            role: Role::Worker,
            queue: Some(queue.to_owned()),
            arguments: Vec::new(),
            variables,
            probe: Probe::Ready { file, key: "admin" },
        })
    }

    fn address_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn variables(&self, address_file: &std::path::Path) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("WORKFLEET_NATS_URL", format!("nats://{}", self.addresses.nats).into()),
            ("WORKFLEET_ADDR_FILE", address_file.into()),
        ];
        variables.extend(self.telemetry.iter().cloned());
        variables
    }
}
