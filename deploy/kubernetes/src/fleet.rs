//! `fleet.toml`: what a fleet is made of, and every mistake in it together.
//!
//! It is read into tables first and checked by hand, as the queues file is: a typed reader stops at its first mistake.

mod read;
mod section;
mod worker;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Table;

/// Longest time in which a dispatcher that was told to stop lets requests end, in seconds (see docs/architecture.md).
pub const DISPATCHER_STOP_S: u64 = 10;
/// Memory that the events of one queue reserve at a server.
pub const EVENTS_BYTES_MAX: u64 = 64 << 20;
/// Disk that the streams all queues share reserve at a server: the operators' log, and four buckets.
pub const SHARED_BYTES_MAX: u64 = (64 << 20) + 4 * (256 << 20);

/// All of the file.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// Where everything is.
    pub namespace: String,
    /// What the base, and so the overlay `local`, is made for.
    pub base: Site,
    /// What the overlay `production` is made for.
    pub production: Site,
    /// In the order of their names.
    pub workers: Vec<Worker>,
}

/// Numbers that go by the size of a cluster.
#[derive(Debug, Clone)]
pub struct Site {
    /// Replicas of the dispatcher.
    pub dispatcher_replicas: u32,
    /// Names under which dispatchers are called beyond the cluster; their certificate has them too.
    pub dispatcher_hosts: Vec<String>,
    /// What a dispatcher gets.
    pub dispatcher: Resources,
    /// Servers of NATS, and copies of every stream: 1, 3 or 5.
    pub nats_servers: u32,
    /// Disk of one server, in bytes.
    pub nats_volume: Quantity,
    /// What a server gets: as much as it asks for, and no more.
    pub nats: Resources,
    /// Disk of Jaeger, where it keeps traces on one.
    pub jaeger_volume: Quantity,
    /// Keys of the queues file, for every queue.
    pub queue: Table,
}

/// A worker.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its name is that of its kind and its queue.
    pub name: String,
    /// Its contract.
    pub proto: PathBuf,
    /// Its image, without a tag.
    pub image: String,
    /// What an autoscaler keeps to.
    pub replicas: Replicas,
    /// Tasks that run at once in a process.
    pub slots: u32,
    /// Longest time of one attempt, in seconds.
    pub timeout_s: u64,
    /// How long attempts may still run after SIGTERM, in seconds; at most the timeout.
    pub drain_s: u64,
    /// How late a crash is noticed, as the queues file writes it.
    pub lease: String,
    /// Tasks that may wait for each slot before there is one more replica.
    pub backlog_per_slot: u32,
    /// Replicas while an autoscaler cannot learn the backlog.
    pub fallback_replicas: u32,
    /// Whether nothing runs while there is nothing to do.
    pub scale_to_zero: bool,
    /// Variables of its own.
    pub env: BTreeMap<String, String>,
    /// Secrets of its own.
    pub secrets: Vec<Secret>,
    /// Where it goes beyond the cluster.
    pub egress: Vec<String>,
    /// Queues that its handlers submit to.
    pub children: Vec<String>,
    /// What a process gets.
    pub resources: Resources,
    /// Keys of the queues file, for its queue alone.
    pub queue: Table,
}

/// Bounds of an autoscaler.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Replicas {
    /// Fewest, from 1; a worker that scales to zero has these while there is work.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// A Secret that is mounted into a worker.
#[derive(Debug, Clone, Serialize)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The folder that it is mounted as.
    pub path: String,
    /// Its files, each with how it is made.
    pub keys: BTreeMap<String, SecretKey>,
    /// Whether the worker starts without it. One that is optional is made by the user, with whatever files.
    pub optional: bool,
}

/// How a file of a Secret comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKey {
    /// Random, in the form that webhooks are signed with: `whsec_` and base64.
    Whsec,
    /// The user writes it.
    Yours,
}

/// What a container asks for, and how much memory it may take at most.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Cores, as Kubernetes writes them: `250m`, `2`.
    pub cpu: String,
    /// Memory that it is given.
    pub memory: Quantity,
    /// Memory at which it is killed.
    pub memory_limit: Quantity,
}

/// An amount of bytes as Kubernetes writes it: `512Mi`, `10Gi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// As it was written.
    pub text: String,
    /// In bytes.
    pub bytes: u64,
}

/// Every mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .path.display(), told(.mistakes))]
pub struct FleetError {
    /// The file.
    pub path: PathBuf,
    /// One line each.
    pub mistakes: Vec<String>,
}

fn told(mistakes: &[String]) -> String {
    match mistakes {
        [mistake] => mistake.clone(),
        several => format!("{} mistakes were found:\n  {}", several.len(), several.join("\n  ")),
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            "there is no such file: run this in the checkout, or name the folder with --dir".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Fleet {
    /// Reads and checks `fleet.toml` in a folder, and the contracts that it names.
    ///
    /// # Errors
    /// Every mistake in it, together.
    pub fn read(dir: &Path) -> Result<Self, FleetError> {
        let path = dir.join("fleet.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| FleetError { path: path.clone(), mistakes: vec![unreadable(&error)] })?;
        Self::parse(&text, dir).map_err(|mistakes| FleetError { path, mistakes })
    }

    /// Reads and checks text; paths in it start at `dir`.
    ///
    /// # Errors
    /// Every mistake in it, together.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, Vec<String>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| vec![error.to_string()])?;
        let fleet = read::fleet(&table, dir)?;
        let mistakes = read::relations(&fleet);
        if mistakes.is_empty() { Ok(fleet) } else { Err(mistakes) }
    }

    /// Every NATS role that has pods, in the order provision, dispatcher, workers, audit. The keys of the others stay on the
    /// machine that made them.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        let workers = self.workers.iter().map(|worker| format!("worker-{}", worker.name));
        ["provision".to_owned(), "dispatcher".to_owned()]
            .into_iter()
            .chain(workers)
            .chain(["audit".to_owned()])
            .collect()
    }
}

#[cfg(test)]
mod tests;
