//! The file from the top, and what holds between its numbers.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

use super::section::{Section, cores, hosts, name, number, quantity, table};
use super::{EVENTS_BYTES_MAX, Fleet, Resources, SHARED_BYTES_MAX, Site, Worker, worker};
use crate::queues;

/// Part of a server's disk that streams may take. The rest is for what the server does not count: indexes, and files that
/// are written anew to make them smaller.
pub(crate) const STORE_PERCENT: u64 = 90;

/// Reads all of it.
pub(super) fn fleet(file: &Table, dir: &Path) -> Result<Fleet, Vec<String>> {
    let nothing = Table::new();
    let mut mistakes = Vec::new();
    let mut top = Section::new("fleet.toml", file, None);
    let namespace = top.required("namespace", name);
    let defaults = top.required("defaults", table).unwrap_or(&nothing);
    let base = top.required("base", table).and_then(|table| site("base", table, &mut mistakes));
    let production = top.required("production", table).and_then(|table| site("production", table, &mut mistakes));
    let entries = top.required("worker", table).unwrap_or(&nothing);
    if entries.is_empty() {
        top.mistake("worker", "there is no [worker.<name>]");
    }
    let unknown = defaults.keys().filter(|key| !worker::DEFAULTS.contains(&key.as_str()));
    let known = worker::DEFAULTS.join(", ");
    mistakes.extend(unknown.map(|key| format!("defaults.{key}: unknown; the keys here are {known}")));
    let workers: Vec<Worker> =
        entries.iter().filter_map(|(name, entry)| worker::worker(name, entry, defaults, dir, &mut mistakes)).collect();
    let mut all = top.finish();
    all.extend(mistakes);
    let mut seen = BTreeSet::new();
    // A mistake in the defaults is met once per worker.
    all.retain(|mistake| seen.insert(mistake.clone()));
    match (namespace, base, production) {
        (Some(namespace), Some(base), Some(production)) if all.is_empty() => {
            Ok(Fleet { namespace, base, production, workers })
        }
        _ => Err(all),
    }
}

fn site(place: &str, entry: &Table, mistakes: &mut Vec<String>) -> Option<Site> {
    let nothing = Table::new();
    let mut section = Section::new(place, entry, None);
    let dispatcher = section.required("dispatcher", table).unwrap_or(&nothing);
    let nats = section.required("nats", table).unwrap_or(&nothing);
    let jaeger = section.required("jaeger", table).unwrap_or(&nothing);
    let queue = section.optional("queue", table).unwrap_or(&nothing).clone();
    if queue.contains_key("replicas") {
        section.mistake("queue.replicas", "follows from nats.servers");
    }
    let mut inner = Section::new(&format!("{place}.dispatcher"), dispatcher, None);
    let dispatcher_replicas = inner.required("replicas", number(1, 100));
    let dispatcher_hosts = inner.optional("hosts", hosts).unwrap_or_default();
    let dispatcher = resources(&mut inner);
    mistakes.extend(inner.finish());
    let mut inner = Section::new(&format!("{place}.nats"), nats, None);
    let nats_servers = inner.required("servers", number(1, 5));
    if nats_servers.is_some_and(|servers| servers % 2 == 0) {
        inner.mistake("servers", "not 1, 3 or 5");
    }
    let nats_volume = inner.required("volume", quantity);
    let nats = resources(&mut inner);
    mistakes.extend(inner.finish());
    let mut inner = Section::new(&format!("{place}.jaeger"), jaeger, None);
    let jaeger_volume = inner.required("volume", quantity);
    mistakes.extend(inner.finish());
    mistakes.extend(section.finish());
    Some(Site {
        dispatcher_replicas: dispatcher_replicas?,
        dispatcher_hosts,
        dispatcher: dispatcher?,
        nats_servers: nats_servers?,
        nats_volume: nats_volume?,
        nats: nats?,
        jaeger_volume: jaeger_volume?,
        queue,
    })
}

/// `cpu`, `memory` and `memory_limit` of a section.
pub(super) fn resources(section: &mut Section<'_>) -> Option<Resources> {
    let cpu = section.required("cpu", cores);
    let memory = section.required("memory", quantity);
    let memory_limit = section.optional("memory_limit", quantity);
    let (cpu, memory) = (cpu?, memory?);
    let memory_limit = memory_limit.unwrap_or_else(|| memory.clone());
    if memory_limit.bytes < memory.bytes {
        section.mistake("memory_limit", "less than memory");
    }
    Some(Resources { cpu, memory, memory_limit })
}

/// What holds between numbers of different places: children exist, queues are well-formed and have room.
pub(super) fn relations(fleet: &Fleet) -> Vec<String> {
    let mut mistakes = Vec::new();
    for worker in &fleet.workers {
        let unknown = worker.children.iter().filter(|child| fleet.workers.iter().all(|other| other.name != **child));
        mistakes.extend(unknown.map(|child| format!("worker.{}.children: there is no worker {child}", worker.name)));
    }
    for (place, site) in [("base", &fleet.base), ("production", &fleet.production)] {
        match queues::check(fleet, site) {
            Ok(taken) => mistakes.extend(room(place, site, taken + SHARED_BYTES_MAX, fleet.workers.len())),
            // Both files are wrong in the same way where a worker's entry is.
            Err(wrong) => mistakes.extend(wrong),
        }
    }
    let mut seen = BTreeSet::new();
    mistakes.retain(|mistake| seen.insert(mistake.clone()));
    mistakes
}

/// A stream reserves its full size when it is made, and a server that has less refuses it. Scheduled tasks reserve nothing; but
/// once a server has stored all it may, it refuses every stream.
fn room(place: &str, site: &Site, taken: u64, queues: usize) -> Vec<String> {
    let mut mistakes = Vec::new();
    let store = site.store_bytes();
    if taken > store {
        mistakes.push(format!(
            "{place}.nats.volume: the streams take up to {} MiB, and {STORE_PERCENT} % of {} is {} MiB; make it {}Gi or more \
             (docs/kubernetes.md says how, where it is in use), or lower tasks_bytes_max, scheduled_bytes_max, \
             results_bytes_max, dead_bytes_max, accepted_bytes_max or blobs_bytes_max (which counts twice) under [{place}.queue] or under [worker.<name>.queue]",
            taken >> 20,
            site.nats_volume.text,
            store >> 20,
            (taken * 100).div_ceil(STORE_PERCENT).div_ceil(1 << 30)
        ));
    }
    let events = site.memory_store_bytes(queues);
    if 2 * events > site.nats.memory.bytes {
        mistakes.push(format!(
            "{place}.nats.memory: events of {queues} queues reserve {} MiB, and a server needs twice that",
            events >> 20
        ));
    }
    mistakes
}

impl Site {
    /// Most bytes that streams may take on a server's disk.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.nats_volume.bytes * STORE_PERCENT / 100
    }

    /// Most bytes that streams may reserve in a server's memory: events, and those of one queue more, since a queue that is
    /// being replaced is there twice for a while.
    #[must_use]
    pub fn memory_store_bytes(&self, queues: usize) -> u64 {
        EVENTS_BYTES_MAX * (queues as u64 + 1)
    }
}
