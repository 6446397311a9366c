//! Streams, their consumers, buckets and their keys: where things are stored.

use super::{Lane, Names, Prefix};
use crate::blob::Store;
use crate::id::QueueName;

impl Names {
    fn stored(&self, name: &str) -> String {
        if self.prefix == Prefix::default() {
            name.to_owned()
        } else {
            format!("{}_{name}", self.prefix.0.to_ascii_uppercase())
        }
    }

    /// The work queue: `TASKS_<q>`.
    #[must_use]
    pub fn tasks_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("TASKS_{queue}"))
    }

    /// Schedules and what is due: `DELAY_<q>`.
    #[must_use]
    pub fn delay_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("DELAY_{queue}"))
    }

    /// Results and idempotency keys: `RESULTS_<q>`.
    #[must_use]
    pub fn results_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("RESULTS_{queue}"))
    }

    /// Events: `EVENTS_<q>`.
    #[must_use]
    pub fn events_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("EVENTS_{queue}"))
    }

    /// Dead letters: `DEAD_<q>`. One for each queue, so that one queue, or one stolen key, pushes out no other's letters.
    #[must_use]
    pub fn dead_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("DEAD_{queue}"))
    }

    /// Where the dead letters of all queues were before each had its own stream: `DEAD`. Only read and emptied, for fleets
    /// from before.
    #[must_use]
    pub fn dead_stream_shared(&self) -> String {
        self.stored("DEAD")
    }

    /// What operators did, in all queues: `OPERATIONS`.
    #[must_use]
    pub fn operations_stream(&self) -> String {
        self.stored("OPERATIONS")
    }

    /// The ledger of a queue that has one: `ACCEPTED_<q>`.
    #[must_use]
    pub fn accepted_stream(&self, queue: &QueueName) -> String {
        self.stored(&format!("ACCEPTED_{queue}"))
    }

    /// The durable consumer of what is due, shared by dispatchers: `DUE` on `DELAY_<q>`.
    #[must_use]
    pub fn due_consumer(&self) -> &'static str {
        "DUE"
    }

    /// The durable consumer of deadlines that have passed, shared by dispatchers: `EXPIRED` on `DELAY_<q>`.
    #[must_use]
    pub fn expired_consumer(&self) -> &'static str {
        "EXPIRED"
    }

    /// The durable consumer of dead letters to tell of, shared by dispatchers: `ALERT` on `DEAD_<q>`.
    #[must_use]
    pub fn alert_consumer(&self) -> &'static str {
        "ALERT"
    }

    /// The durable consumer of one lane, shared by all replicas: `WORK_<lane>`.
    #[must_use]
    pub fn work_consumer(&self, lane: Lane) -> String {
        format!("WORK_{lane}")
    }

    /// Key-value bucket of contracts: `KINDS`, with keys [`kind_key`](Self::kind_key) and [`schema_key`](Self::schema_key).
    #[must_use]
    pub fn kinds_bucket(&self) -> String {
        self.stored("KINDS")
    }

    /// Key-value bucket of live worker processes: `WORKERS`, with keys `<queue>.<worker id>`.
    #[must_use]
    pub fn workers_bucket(&self) -> String {
        self.stored("WORKERS")
    }

    /// Key-value bucket of settings: `QUEUES`, with keys `<queue>`.
    #[must_use]
    pub fn queues_bucket(&self) -> String {
        self.stored("QUEUES")
    }

    /// Key-value bucket of workflows: `FLOWS`.
    #[must_use]
    pub fn flows_bucket(&self) -> String {
        self.stored("FLOWS")
    }

    /// Object store of a queue's payloads and uploads, or of its outputs: `IN_<q>`, `OUT_<q>`.
    #[must_use]
    pub fn object_store(&self, store: Store, queue: &QueueName) -> String {
        match store {
            Store::In => self.stored(&format!("IN_{queue}")),
            Store::Out => self.stored(&format!("OUT_{queue}")),
        }
    }

    /// Key in `KINDS` of a queue's contract: `kind.<q>`.
    #[must_use]
    pub fn kind_key(&self, queue: &QueueName) -> String {
        format!("kind.{queue}")
    }

    /// Key in `KINDS` of a descriptor set: `schema.<q>.<hash>`. The queue is in it so that the broker's permissions can
    /// keep a worker from another queue's.
    #[must_use]
    pub fn schema_key(&self, queue: &QueueName, hash: &str) -> String {
        format!("schema.{queue}.{hash}")
    }

    /// Where it was before queues were in it: `schema.<hash>`. Only read, for fleets from before.
    #[must_use]
    pub fn schema_key_shared(&self, hash: &str) -> String {
        format!("schema.{hash}")
    }

    /// Key in `WORKERS` of a process: `<q>.<worker id>`.
    #[must_use]
    pub fn worker_key(&self, queue: &QueueName, worker: &str) -> String {
        format!("{queue}.{worker}")
    }
}
