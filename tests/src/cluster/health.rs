//! Who leads, and whether all is well again.
//!
//! Asked of the servers' monitoring ports and not of JetStream's API: the API answers through the leaders that a test
//! has just killed.

use serde_json::Value;

use super::{Cluster, HEALTHY_TIME_MAX};
use crate::wait::eventually_within;

/// Streams of the fleet, each with its group.
const STREAMS: &str = "/jsz?accounts=true&streams=true&consumers=true&config=false";

impl Cluster {
    /// The server that leads a stream, as soon as one does.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader_of(&self, stream: &str) -> usize {
        let what = format!("{stream} has a leader");
        eventually_within(HEALTHY_TIME_MAX, &what, async || self.leader_now(stream).await).await
    }

    /// The same, if there is one now. A server that was cut off may still think that it is.
    pub async fn leader_now(&self, stream: &str) -> Option<usize> {
        for server in self.up() {
            let found = self.stream_on(server, stream).await;
            if found.is_some_and(|found| found["cluster"]["leader"] == self.name(server)) {
                return Some(server);
            }
        }
        None
    }

    /// The server that leads a consumer, as soon as one does.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn consumer_leader_of(&self, stream: &str, consumer: &str) -> usize {
        let what = format!("{consumer} of {stream} has a leader");
        eventually_within(HEALTHY_TIME_MAX, &what, async || {
            for server in self.up() {
                let found = self.stream_on(server, stream).await.unwrap_or_default();
                let consumers = found["consumer_detail"].as_array().cloned().unwrap_or_default();
                let leads =
                    |found: &Value| found["name"] == consumer && found["cluster"]["leader"] == self.name(server);
                if consumers.iter().any(leads) {
                    return Some(server);
                }
            }
            None
        })
        .await
    }

    /// The server that decides where streams are.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn meta_leader(&self) -> usize {
        eventually_within(HEALTHY_TIME_MAX, "there is a meta leader", async || self.meta_leader_now().await).await
    }

    async fn meta_leader_now(&self) -> Option<usize> {
        for server in self.up() {
            let meta = self.ask(server, "/jsz").await.unwrap_or_default();
            if meta["meta_cluster"]["leader"] == self.name(server) {
                return Some(server);
            }
        }
        None
    }

    /// Waits until every server runs and is up to date, and every stream and consumer has a leader and all replicas.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn healthy(&self) {
        let mut ill = Vec::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < HEALTHY_TIME_MAX {
            ill = self.illnesses().await;
            if ill.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("waited {HEALTHY_TIME_MAX:?} in vain: the cluster is healthy: {ill:#?}");
    }

    /// What is not well now; nothing when all is.
    pub async fn illnesses(&self) -> Vec<String> {
        let mut ill = Vec::new();
        for server in 0..self.nodes.len() {
            let health = self.ask(server, "/healthz").await.unwrap_or_default();
            if health["status"] != "ok" {
                ill.push(format!("{}: {health}", self.name(server)));
            }
        }
        let Some(leader) = self.meta_leader_now().await else {
            ill.push("no meta leader".to_owned());
            return ill;
        };
        let meta = self.ask(leader, "/jsz").await.unwrap_or_default();
        ill.extend(behind("meta", &meta["meta_cluster"], self.nodes.len()));
        for server in 0..self.nodes.len() {
            for stream in self.streams_on(server).await {
                let name = stream["name"].as_str().unwrap_or_default();
                ill.extend(group_illness(name, &stream["cluster"], self.name(server)));
                for consumer in stream["consumer_detail"].as_array().into_iter().flatten() {
                    let name = format!("{name}/{}", consumer["name"].as_str().unwrap_or_default());
                    ill.extend(group_illness(&name, &consumer["cluster"], self.name(server)));
                }
            }
        }
        ill
    }

    /// What a server's monitoring port answers, if it does.
    pub async fn ask(&self, server: usize, path: &str) -> Option<Value> {
        if !self.is_up(server) {
            return None;
        }
        let answer = crate::http::get(format!("{}{path}", self.monitor_url(server)));
        // A frozen server accepts and never answers.
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, answer).await.ok()?.ok()?;
        answer.json().await.ok()
    }

    fn name(&self, server: usize) -> &str {
        self.nodes[server].name()
    }

    async fn stream_on(&self, server: usize, stream: &str) -> Option<Value> {
        self.streams_on(server).await.into_iter().find(|found| found["name"] == stream)
    }

    async fn streams_on(&self, server: usize) -> Vec<Value> {
        let known = self.ask(server, STREAMS).await.unwrap_or_default();
        let accounts = known["account_details"].as_array().cloned().unwrap_or_default();
        accounts.iter().flat_map(|account| account["stream_detail"].as_array().cloned().unwrap_or_default()).collect()
    }
}

const ANSWER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Every replica knows whether there is a leader; the leader alone knows how the others are.
fn group_illness(name: &str, group: &Value, server: &str) -> Option<String> {
    match group["leader"].as_str() {
        // A stream with one replica that is not clustered has no group.
        _ if group.is_null() => None,
        None | Some("") => Some(format!("{name} has no leader, says {server}")),
        Some(leader) if leader == server => behind(name, group, 0),
        Some(_) => None,
    }
}

fn behind(name: &str, group: &Value, peers: usize) -> Option<String> {
    let replicas = group["replicas"].as_array().cloned().unwrap_or_default();
    if peers > 0 && replicas.len() + 1 != peers {
        return Some(format!("{name} has {} of {peers} replicas", replicas.len() + 1));
    }
    let late: Vec<&Value> = replicas.iter().filter(|peer| peer["current"] != true || peer["offline"] == true).collect();
    (!late.is_empty()).then(|| format!("{name} is behind on {late:?}"))
}
