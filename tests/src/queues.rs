//! The queues file of a fleet under test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::place::workspace;

/// Size of a stream under test.
const SMALL_BYTES: u64 = 256 << 20;

/// What a test changes about a queue. Everything else is quick by default, so that no test waits for a human's time.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    kind: PathBuf,
    pairs: BTreeMap<&'static str, String>,
}

impl QueueSettings {
    pub(crate) fn new(queue: &str) -> Self {
        let folder = if queue == "probe" { "tests/proto" } else { "proto/kinds" };
        let settings = Self { kind: workspace().join(folder).join(format!("{queue}.proto")), pairs: BTreeMap::new() };
        // Streams reserve their full size, and several fleets share a machine.
        let settings = settings.set("tasks_bytes_max", SMALL_BYTES.to_string());
        let settings = settings.set("results_bytes_max", SMALL_BYTES.to_string()).blobs_bytes_max(2 * SMALL_BYTES);
        settings.lease("2s").timeout("30s").attempts_max(3).backoff("50ms", "200ms")
    }

    /// With the next version of the probe's contract, as `workfleet-probe-next` has it.
    #[must_use]
    pub fn next_contract(self) -> Self {
        Self { kind: workspace().join("tests/proto/next/probe.proto"), ..self }
    }

    /// How long a worker may be silent about a task.
    #[must_use]
    pub fn lease(self, duration: &str) -> Self {
        self.text("lease", duration)
    }

    /// The longest time of one attempt.
    #[must_use]
    pub fn timeout(self, duration: &str) -> Self {
        self.text("timeout", duration)
    }

    /// First and longest wait between attempts.
    #[must_use]
    pub fn backoff(self, base: &str, max: &str) -> Self {
        self.text("backoff_base", base).text("backoff_max", max)
    }

    /// How often the handler may be started.
    #[must_use]
    pub fn attempts_max(self, attempts: u32) -> Self {
        self.set("attempts_max", attempts.to_string())
    }

    /// Most tasks that wait and run.
    #[must_use]
    pub fn tasks_max(self, tasks: u32) -> Self {
        self.set("tasks_max", tasks.to_string())
    }

    /// Most bytes of what waits, and of what has ended.
    #[must_use]
    pub fn bytes_max(self, bytes: u64) -> Self {
        self.set("tasks_bytes_max", bytes.to_string()).set("results_bytes_max", bytes.to_string())
    }

    /// Most tasks that are scheduled.
    #[must_use]
    pub fn scheduled_max(self, tasks: u32) -> Self {
        self.set("scheduled_max", tasks.to_string())
    }

    /// With a ledger of what was accepted.
    #[must_use]
    pub fn ledger(self) -> Self {
        self.set("ledger", "true".to_owned())
    }

    /// On how many servers.
    #[must_use]
    pub fn replicas(self, servers: usize) -> Self {
        self.set("replicas", servers.to_string())
    }

    /// The lanes, most urgent first.
    #[must_use]
    pub fn lanes(self, lanes: &[&str]) -> Self {
        self.set("lanes", format!("{lanes:?}"))
    }

    /// Queues that its handlers may submit to.
    #[must_use]
    pub fn children(self, queues: &[&str]) -> Self {
        self.set("children", format!("{queues:?}"))
    }

    /// Largest payload and output.
    #[must_use]
    pub fn payload_bytes_max(self, bytes: u64) -> Self {
        self.set("payload_bytes_max", bytes.to_string())
    }

    /// Size of each object store.
    #[must_use]
    pub fn blobs_bytes_max(self, bytes: u64) -> Self {
        self.set("blobs_bytes_max", bytes.to_string())
    }

    fn text(self, name: &'static str, value: &str) -> Self {
        self.set(name, format!("{value:?}"))
    }

    fn set(mut self, name: &'static str, value: String) -> Self {
        self.pairs.insert(name, value);
        self
    }
}

/// Writes the file.
pub(crate) fn write(path: &Path, queues: &BTreeMap<String, QueueSettings>) {
    let mut text = String::new();
    for (queue, settings) in queues {
        let _ = writeln!(text, "[queue.{queue}]\nproto = {:?}", settings.kind);
        for (name, value) in &settings.pairs {
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    std::fs::write(path, text).expect("a temporary folder takes files");
}
