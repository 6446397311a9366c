//! `workfleet doctor`: whether the broker is what a fleet needs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use reqwest::Url;
use serde_json::{Value, json};
use workfleet_dispatcher::auth::is_loopback;
use workfleet_dispatcher::doctor::{self, Examination, Grade, Server, Severity};
use workfleet_link::broker::{Broker, BrokerConfig, Login, Seed};
use workfleet_link::config::Vars;
use workfleet_link::tls;

use super::fault::{Fault, Form};
use super::print;
use super::provision::{connect, explained};

/// The monitoring port as NATS's own pages have it.
const MONITOR_PORT: u16 = 8222;
/// How long a monitoring port may take.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer of one that is read, in bytes.
const MONITOR_BYTES_MAX: usize = 4 << 20;
/// How long the next server's answer is waited for: nobody knows how many there will be.
const SERVERS_SILENCE: Duration = Duration::from_secs(2);
/// Most servers of which answers are taken.
const SERVERS_MAX: usize = 256;
const SERVERS_SUBJECT: &str = "$SYS.REQ.SERVER.PING.VARZ";

/// Look at the broker, say how durable it is, and what to change
///
/// Compares streams and consumers with what `provision` wants, and bounds with what is used. When a server writes to its
/// disk is told by its monitoring port and to the account of the system alone: without --monitor and --system-*, the grade
/// is unknown, unless the broker is on this machine and has the usual monitoring port, 8222. Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Grades:
  A  three replicas, written to the disk before they are acknowledged: one server may be lost, and the power of all
  B  three replicas, written later: one server may be lost; power lost by several at once takes what was accepted last
  C  one replica, written to the disk before it is acknowledged: the power may be lost, the server's disk may not
  D  one replica, written later: what was accepted last goes with the power

Exit codes: 0, no fault; 1, a fault was found, or the grade is below --require; 2, wrong use; 3, the broker or a
monitoring port does not answer.

Examples:
  workfleet doctor --monitor http://127.0.0.1:8222
  workfleet doctor --system-nkey-file credentials/sys.nk --require A --json | jq -r .grade")]
pub(crate) struct Doctor {
    /// The monitoring port of a server; may be given again, once for each, or several with commas
    #[arg(long, value_name = "URL", num_args = 1.., value_delimiter = ',', env = "WORKFLEET_NATS_MONITOR_URL",
          value_parser = super::remote::url)]
    monitor: Vec<Url>,
    /// The seed of a user of the account of the system, as the role sys has it
    #[arg(long, value_name = "FILE", env = "WORKFLEET_SYSTEM_NKEY_FILE", hide_env_values = true)]
    system_nkey_file: Option<PathBuf>,
    /// The broker with a user of that account: nats://user:password@host
    #[arg(long, value_name = "URL", env = "WORKFLEET_SYSTEM_NATS_URL", hide_env_values = true)]
    system_nats: Option<String>,
    /// Fail below this grade: A, B, C or D
    #[arg(long, value_name = "GRADE")]
    require: Option<Grade>,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Print everything as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Doctor {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let mut vars = Vars::from_env();
        let mut config = BrokerConfig::read(&mut vars, "workfleet-doctor");
        config = vars.finish(config).map_err(|error| Fault::Usage(error.to_string()))?;
        config.url = self.nats.clone().unwrap_or(config.url);
        let form = if self.json { Form::Json } else { Form::Words };
        let mut servers = self.monitored(&config).await?;
        servers.extend(self.of_system(&config, form).await?);
        let broker = connect(&config, form).await?;
        if servers.is_empty() {
            servers.extend(beside(&broker, &config).await);
        }
        let examined = doctor::examine(&broker, servers).await;
        let refusal = broker.refusal();
        broker.close().await;
        if let Some(refusal) = refusal {
            return Err(refusal.into());
        }
        if self.json {
            print::json(&json!(examined))?;
        } else {
            show(&examined)?;
        }
        self.verdict(&examined)
    }

    fn verdict(&self, examined: &Examination) -> Result<(), Fault> {
        if let Some(required) = self.require.filter(|required| examined.grade > *required) {
            return Err(Fault::Found(format!("the grade is {}, and {required} is required", examined.grade)));
        }
        let faults = examined.findings.iter().filter(|finding| finding.severity == Severity::Fault).count();
        if examined.has_faults() { Err(Fault::Found(format!("faults found: {faults}"))) } else { Ok(()) }
    }

    async fn monitored(&self, config: &BrokerConfig) -> Result<Vec<Server>, Fault> {
        let mut servers = Vec::new();
        for url in &self.monitor {
            let varz = varz(url, config).await?;
            let server = Server::read(&varz);
            servers.push(server.ok_or_else(|| {
                Fault::Usage(format!("--monitor {url}: there is no server with JetStream behind it"))
            })?);
        }
        Ok(servers)
    }

    /// All servers at once, where somebody may ask them.
    async fn of_system(&self, config: &BrokerConfig, form: Form) -> Result<Vec<Server>, Fault> {
        if self.system_nkey_file.is_none() && self.system_nats.is_none() {
            return Ok(Vec::new());
        }
        let url = self.system_nats.clone().unwrap_or_else(|| config.url.clone());
        let mut system = BrokerConfig { url, login: Login::Address, ..config.clone() };
        if let Some(path) = &self.system_nkey_file {
            let wrong = |error| Fault::Usage(format!("--system-nkey-file {}: {error}", path.display()));
            system.login = Login::Nkey(Seed::read(path).map_err(wrong)?);
        }
        "workfleet-doctor-system".clone_into(&mut system.name);
        let broker = connect(&system, form).await?;
        let servers = ask_all(&broker).await.map_err(|fault| explained(&broker, fault));
        broker.close().await;
        servers
    }
}

/// The broker, from the usual monitoring port of its machine where that is this one and nobody has named another. Whoever
/// answers there is believed only where it is the server that we speak to.
async fn beside(broker: &Broker, config: &BrokerConfig) -> Option<Server> {
    let address = config.url.strip_prefix("nats://")?;
    let mut url = Url::parse(&format!("http://{address}")).ok().filter(is_loopback)?;
    url.set_username("").and_then(|()| url.set_password(None)).and_then(|()| url.set_port(Some(MONITOR_PORT))).ok()?;
    let server = Server::read(&varz(&url, config).await.ok()?)?;
    (server.id == broker.client.server_info().server_id).then_some(server)
}

async fn varz(url: &Url, config: &BrokerConfig) -> Result<Value, Fault> {
    let tls = match url.scheme() {
        "https" => tls::client(config.tls.ca_file.as_deref()).map_err(|error| Fault::Usage(error.to_string()))?,
        _ => tls::nobody(),
    };
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(MONITOR_TIMEOUT);
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    let unreachable = |error: reqwest::Error| Fault::Unreachable(format!("--monitor {url}: {error}"));
    let path = url.join("varz").map_err(|error| Fault::Usage(format!("--monitor {url}: {error}")))?;
    let mut answer = builder.build().map_err(unreachable)?.get(path).send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&piece);
        if body.len() > MONITOR_BYTES_MAX {
            break;
        }
    }
    serde_json::from_slice(&body).map_err(|_| Fault::Usage(format!("--monitor {url}: what answers is no nats-server")))
}

async fn ask_all(broker: &Broker) -> Result<Vec<Server>, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::Unreachable(format!("the servers cannot be asked: {error}"));
    let inbox = broker.client.new_inbox();
    let answers = broker.client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
    let asked = broker.client.publish_with_reply(SERVERS_SUBJECT, inbox, Vec::new().into()).await;
    asked.map_err(|error| failed(&error))?;
    let mut answers = answers.take(SERVERS_MAX);
    let mut servers = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(SERVERS_SILENCE, answers.next()).await {
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        servers.extend(Server::read(&answer["data"]));
    }
    if servers.is_empty() {
        return Err(Fault::Denied(format!(
            "no server answers {SERVERS_SUBJECT}: is this a user of the system's account?"
        )));
    }
    Ok(servers)
}

fn show(examined: &Examination) -> Result<(), Fault> {
    let grade = match examined.grade {
        Grade::Unknown => examined.meaning.clone(),
        grade => format!("{grade}: {}", examined.meaning),
    };
    let seen = Some(examined.servers.len() as u64).filter(|seen| *seen > 0);
    let cluster = examined.cluster_size.or(seen).map_or_else(|| "unknown".to_owned(), |size| size.to_string());
    let skew = examined.clock_skew_ms.map_or_else(|| "unknown".to_owned(), |skew_ms| format!("{skew_ms} ms"));
    let replicas = examined.replicas.map_or_else(|| "unknown".to_owned(), |replicas| replicas.to_string());
    let assets = &examined.assets;
    print::pairs(vec![
        ("grade", grade),
        ("version", examined.version.clone()),
        ("servers", cluster),
        ("replicas", replicas),
        ("streams", assets.streams.to_string()),
        ("consumers", assets.consumers.to_string()),
        ("clock skew", skew),
    ])?;
    if !examined.servers.is_empty() {
        print::line("")?;
        let rows = examined.servers.iter().map(|server| {
            let store = format!("{}/{}", server.store_bytes, server.store_bytes_max);
            [server.name.clone(), server.version.clone(), server.sync.to_string(), store]
        });
        print::table(["SERVER", "VERSION", "SYNC", "STORED"], rows)?;
    }
    if !examined.queues.is_empty() {
        print::line("")?;
        let rows = examined.queues.iter().map(|queue| {
            let fullest =
                queue.bounds.iter().max_by_key(|bound| u128::from(bound.used) * 1_000 / u128::from(bound.max.max(1)));
            let fullest = fullest.map_or_else(|| "-".to_owned(), |b| format!("{} {}/{}", b.limit, b.used, b.max));
            [queue.name.clone(), queue.replicas.to_string(), fullest]
        });
        print::table(["QUEUE", "REPLICAS", "FULLEST"], rows)?;
    }
    print::line("")?;
    if examined.findings.is_empty() {
        return print::line("Nothing to change.");
    }
    let rows = examined.findings.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Fault => "fault",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        [severity.to_owned(), finding.what.clone(), finding.change.clone()]
    });
    print::table(["", "WHAT", "CHANGE"], rows)
}
