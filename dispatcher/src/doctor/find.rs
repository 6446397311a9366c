//! The examination itself, one part after the other. Each part adds what it finds.

use std::time::Instant;

use serde_json::Value;
use workfleet_link::broker::Broker;
use workfleet_link::read::{self, ReadError};
use workfleet_link::time::now_ms;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::QueueSettings;

use super::asker::{Answer, ask};
use super::replicas::Replicas;
use super::version::{VERSION_MIN, VERSION_QUICK, version_of};
use super::{Assets, Examination, Finding, Grade, QueueExamined, Server, Severity};
use crate::bounds;
use crate::limits::{DEADLINE_LATE_MAX, QUEUES_LISTED_MAX};
use crate::streams::{Expected, expected};

/// Smallest `max_payload` with which every message of the contract fits, in bytes.
const PAYLOAD_BYTES_MIN: u64 = 1 << 20;
/// How full something is, in percent, that is warned of.
const FULL_PERCENT_WARNED: u64 = 80;
/// The same where it is a fault: what comes next is refused.
const FULL_PERCENT_FAULT: u64 = 95;
/// Replicated streams and consumers of a server beyond which its vendor warns.
const REPLICATED_ASSETS_WARNED: u64 = 1_000;
/// For how long nothing is heard of a replica that is behind until its server counts as gone, in nanoseconds. Replicas hear of
/// their leader every second.
const REPLICA_SILENT_NS_FAULT: u64 = 20_000_000_000;
/// Difference of clocks that is warned of, in milliseconds.
const SKEW_MS_WARNED: i64 = 1_000;

/// What was found so far.
struct Find<'a> {
    broker: &'a Broker,
    findings: Vec<Finding>,
    skew_ms: Option<i64>,
    replicas: Replicas,
}

pub(super) async fn examine(broker: &Broker, mut servers: Vec<Server>) -> Examination {
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    servers.dedup_by(|a, b| a.name == b.name);
    let mut find = Find { broker, findings: Vec::new(), skew_ms: None, replicas: Replicas::default() };
    find.strangers(&mut servers);
    find.servers(&servers);
    let assets = find.account(&servers).await;
    let queues = find.queues().await;
    let mut members = 0;
    for expected in expected(&broker.names, &queues) {
        members = members.max(find.expected(&expected).await);
    }
    find.skew();
    let mut examined = Vec::new();
    for (name, settings) in &queues {
        examined.push(find.queue(name, settings).await);
    }
    find.permissions();
    let cluster_size = servers.iter().filter_map(|server| server.cluster_size).max();
    // A stream on several servers tells of those; one that is on one server, of none.
    let cluster_size = cluster_size.or(Some(members).filter(|members| *members > 1));
    // Without queues, what could be made counts.
    let possible = u32::try_from(cluster_size.unwrap_or(servers.len() as u64)).unwrap_or(u32::MAX);
    let has_none = queues.is_empty() && find.replicas.are_read();
    let fewest = find.replicas.fewest();
    let (grade, meaning) = Grade::of(&servers, cluster_size, if has_none { Some(possible) } else { fewest });
    if let Some(advice) = grade.advice() {
        find.add(Severity::Note, format!("the grade is {grade}"), advice);
    }
    let Find { mut findings, skew_ms, .. } = find;
    let replicas = if has_none { Some(0) } else { fewest };
    findings.sort_by_key(|finding| finding.severity);
    Examination {
        grade,
        meaning,
        servers,
        cluster_size,
        version: broker.client.server_info().version,
        replicas,
        assets,
        clock_skew_ms: skew_ms,
        queues: examined,
        findings,
    }
}

impl Find<'_> {
    fn add(&mut self, severity: Severity, what: impl Into<String>, change: impl Into<String>) {
        self.findings.push(Finding { severity, what: what.into(), change: change.into() });
    }

    /// Takes out servers of another broker, which say nothing of this one. Where ours is a cluster, of which we know one, it
    /// cannot be told: the one that we speak to may be among those that were not asked.
    fn strangers(&mut self, servers: &mut Vec<Server>) {
        let ours = self.broker.client.server_info();
        if ours.connect_urls.len() > 1 || servers.iter().any(|server| server.id == ours.server_id) {
            return;
        }
        for server in servers.drain(..) {
            let what = format!("server {} is of another broker than the one that was connected to", server.name);
            self.add(Severity::Fault, what, "pass --monitor with the addresses of the fleet's own servers");
        }
    }

    /// What servers say of themselves; of the one that answers, its greeting.
    fn servers(&mut self, servers: &[Server]) {
        let info = self.broker.client.server_info();
        let greeting = (format!("server {}", info.server_name), info.version.clone(), info.max_payload as u64);
        let told = servers.iter().map(|s| (format!("server {}", s.name), s.version.clone(), s.payload_bytes_max));
        let told: Vec<_> = if servers.is_empty() { vec![greeting] } else { told.collect() };
        for (name, version, payload_bytes_max) in told {
            let number = version_of(&version);
            if number < VERSION_MIN {
                let change = "upgrade to nats-server 2.15: what is older than 2.14 was never tried";
                self.add(Severity::Fault, format!("{name} is of version {version}"), change);
            } else if number < VERSION_QUICK {
                let change = "upgrade to nats-server 2.15, which shares one write to the disk among many messages";
                self.add(Severity::Note, format!("{name} is of version {version}"), change);
            }
            if payload_bytes_max < PAYLOAD_BYTES_MIN {
                let what = format!("{name} takes messages of {payload_bytes_max} bytes at most (max_payload)");
                self.add(Severity::Fault, what, format!("set max_payload to {PAYLOAD_BYTES_MIN} at least"));
            }
        }
        for server in servers {
            self.store(server);
        }
    }

    fn store(&mut self, server: &Server) {
        let name = &server.name;
        let most = server.store_bytes.max(server.store_bytes_reserved);
        let percent = most.saturating_mul(100).checked_div(server.store_bytes_max).unwrap_or(0);
        if percent >= FULL_PERCENT_WARNED {
            let (used, reserved, max) = (server.store_bytes, server.store_bytes_reserved, server.store_bytes_max);
            let what = format!("server {name} has promised {reserved} and uses {used} of its {max} bytes of streams");
            let is_used = server.store_bytes.saturating_mul(100) / server.store_bytes_max.max(1) >= FULL_PERCENT_FAULT;
            let severity = if is_used { Severity::Fault } else { Severity::Warning };
            self.add(severity, what, "raise max_file_store, or lower what the queues may hold");
        }
        if server.replicated_assets >= REPLICATED_ASSETS_WARNED {
            let what = format!("server {name} has {} replicated streams and consumers", server.replicated_assets);
            self.add(Severity::Warning, what, "spread the queues over more servers, or over several clusters");
        }
    }

    async fn account(&mut self, servers: &[Server]) -> Assets {
        let replicated_max = servers.iter().map(|server| server.replicated_assets).max();
        let info = match ask(self.broker, "INFO").await {
            Answer::Told(info) => info,
            Answer::Missing | Answer::Refused => return Assets { replicated_max, ..Assets::default() },
            Answer::Silent(reason) => {
                let change = "is JetStream enabled on the servers, and for this account?";
                self.add(Severity::Fault, format!("JetStream does not tell of the account: {reason}"), change);
                return Assets { replicated_max, ..Assets::default() };
            }
        };
        for (used, max, word) in [
            (&info["storage"], &info["limits"]["max_storage"], "bytes of streams"),
            (&info["streams"], &info["limits"]["max_streams"], "streams"),
            (&info["consumers"], &info["limits"]["max_consumers"], "consumers"),
        ] {
            let (used, max) = (used.as_u64().unwrap_or(0), max.as_u64().unwrap_or(0));
            if max > 0 && used.saturating_mul(100) / max >= FULL_PERCENT_WARNED {
                let what = format!("the account has {used} of its {max} {word}");
                self.add(Severity::Warning, what, "raise the account's limits");
            }
        }
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        Assets { streams: number(&info["streams"]), consumers: number(&info["consumers"]), replicated_max }
    }

    async fn queues(&mut self) -> Vec<(QueueName, QueueSettings)> {
        let bucket = self.broker.names.queues_bucket();
        let prefix = format!("$KV.{bucket}.");
        let (stream, filter) = (format!("KV_{bucket}"), format!("{prefix}>"));
        let mut queues = Vec::new();
        match crate::ask::subjects(self.broker, &stream, &filter, QUEUES_LISTED_MAX).await {
            Err(ReadError::NoStream { .. }) => {
                self.add(Severity::Fault, "nothing is provisioned here", "run `workfleet provision`");
            }
            Err(error) => {
                self.replicas.unread();
                self.add(Severity::Fault, error.to_string(), "see whether its servers run");
            }
            Ok(keys) => {
                for name in keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse::<QueueName>().ok()) {
                    match read::queue_settings(self.broker, &name).await {
                        Ok(Some(settings)) => queues.push((name, settings)),
                        Ok(None) => {}
                        Err(error) => {
                            self.replicas.unread();
                            self.add(Severity::Fault, error.to_string(), "run `workfleet provision`");
                        }
                    }
                }
            }
        }
        queues
    }

    /// A stream or a consumer; gives how many servers it is on.
    async fn expected(&mut self, expected: &Expected) -> u64 {
        let name = expected.name();
        let (began, began_ms) = (Instant::now(), now_ms());
        let answer = ask(self.broker, &expected.question()).await;
        match &answer {
            Answer::Told(info) if expected.consumer.is_none() => self.replicas.add(info),
            Answer::Refused | Answer::Silent(_) if expected.consumer.is_none() => self.replicas.unread(),
            _ => {}
        }
        let info = match answer {
            Answer::Told(info) => info,
            Answer::Missing => {
                self.add(Severity::Fault, format!("{name} is missing"), "run `workfleet provision`");
                return 0;
            }
            Answer::Refused => return 0,
            Answer::Silent(reason) => {
                self.add(Severity::Fault, format!("{name} gives no answer: {reason}"), "see whether its servers run");
                return 0;
            }
        };
        let half_ms = i64::try_from(began.elapsed().as_millis() / 2).unwrap_or(0);
        let at = info["ts"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if let Some(at) = at {
            let skew_ms = at.as_millisecond() - (began_ms + half_ms);
            // What the way may have cost is no difference of clocks.
            let skew_ms = skew_ms.signum() * (skew_ms.abs() - half_ms).max(0);
            self.skew_ms = self.skew_ms.into_iter().chain([skew_ms]).max_by_key(|skew_ms| skew_ms.abs());
        }
        let differences = expected.differences(&info);
        if !differences.is_empty() {
            let what = format!("{name} is not as provisioned: wanted {}", differences.join(" "));
            self.add(Severity::Fault, what, "run `workfleet provision`");
        }
        self.members(&name, &info)
    }

    fn members(&mut self, name: &str, info: &Value) -> u64 {
        let cluster = &info["cluster"];
        let replicas = cluster["replicas"].as_array().cloned().unwrap_or_default();
        for replica in &replicas {
            let server = replica["name"].as_str().unwrap_or_default();
            let silent_ns = replica["active"].as_u64().unwrap_or(0);
            // A server that was killed is not called offline for minutes: it is behind, and nothing is heard of it.
            let is_silent = replica["current"] == false && silent_ns >= REPLICA_SILENT_NS_FAULT;
            if replica["offline"] == true || is_silent {
                self.add(Severity::Fault, format!("{name}: its replica on {server} is offline"), "start that server");
            } else if replica["current"] == false {
                let what = format!("{name}: its replica on {server} is behind");
                self.add(Severity::Warning, what, "wait until it has caught up before another server is stopped");
            }
        }
        if cluster.is_object() { 1 + replicas.len() as u64 } else { 0 }
    }

    fn skew(&mut self) {
        let Some(skew_ms) = self.skew_ms.filter(|skew_ms| skew_ms.abs() >= SKEW_MS_WARNED) else { return };
        let late_ms = i64::try_from(DEADLINE_LATE_MAX.as_millis()).unwrap_or(i64::MAX);
        let severity = if skew_ms.abs() >= late_ms { Severity::Fault } else { Severity::Warning };
        let what = format!("the servers' clocks are {skew_ms} ms ahead of this machine's");
        self.add(severity, what, "let all machines take their time from NTP: delays and deadlines go by both");
    }

    async fn queue(&mut self, name: &QueueName, settings: &QueueSettings) -> QueueExamined {
        // A stream that is missing has been found missing.
        let bounds = bounds::of_queue(self.broker, name, settings).await.unwrap_or_default();
        for bound in bounds.iter().filter(|bound| bound.percent() >= FULL_PERCENT_WARNED) {
            let what = format!(
                "queue {name}: {} of {} are used ({}, {} %)",
                bound.used,
                bound.max,
                bound.limit,
                bound.percent()
            );
            let severity = if bound.percent() >= FULL_PERCENT_FAULT { Severity::Fault } else { Severity::Warning };
            let change = match bound.limit {
                "results_bytes_max" | "accepted_bytes_max" | "dead_bytes_max" => {
                    "raise it: the oldest go before their time"
                }
                "running_max" => "raise it, if the workers could take more",
                _ => "raise it, or start workers: what comes next is refused",
            };
            // What drops its oldest refuses nobody.
            let severity = if change.contains("oldest") { Severity::Warning } else { severity };
            self.add(severity, what, change);
        }
        QueueExamined { name: name.to_string(), replicas: settings.replicas, bounds }
    }

    fn permissions(&mut self) {
        for subject in self.broker.refused_publishes() {
            let change = "connect with the key of the role provision or audit, or run `workfleet credentials` again";
            self.add(Severity::Fault, format!("this client may not ask {subject}"), change);
        }
    }
}
