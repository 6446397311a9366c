//! Whether the broker is what a fleet needs: its real settings, against what provisioning wants and what durability asks
//! for, and a grade.
//!
//! Nothing is guessed. When a server writes to its disk is nowhere in JetStream's own API; it stands in `/varz` of the
//! monitoring port and in the answers to the account of the system. Where neither is given, or not every server of a
//! cluster is seen, the grade is "unknown", and what would have to be given is said.

mod asker;
mod find;
mod grade;
mod replicas;
mod server;
mod version;

pub use grade::Grade;
pub use server::{Server, SyncTime};

use serde::Serialize;
use workfleet_link::broker::Broker;

use crate::bounds::Bound;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// How durable it is.
    pub grade: Grade,
    /// What the grade means, or why there is none.
    pub meaning: String,
    /// Servers that were seen, by their names.
    pub servers: Vec<Server>,
    /// Servers that the cluster has, where that is known.
    pub cluster_size: Option<u64>,
    /// The version of the server that answered.
    pub version: String,
    /// On how many servers the least safe stream is; 0 without queues; absent where not every stream could be read.
    pub replicas: Option<u32>,
    /// What is on the broker.
    pub assets: Assets,
    /// The largest difference between this machine's clock and a server's, in milliseconds; positive where the server's
    /// is ahead.
    pub clock_skew_ms: Option<i64>,
    /// Every queue.
    pub queues: Vec<QueueExamined>,
    /// What is not as it should be, the gravest first.
    pub findings: Vec<Finding>,
}

/// How much is on the broker, of this fleet and of others in its account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Assets {
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// Replicated ones on the server that has most; absent where no server's settings were read.
    pub replicated_max: Option<u64>,
}

/// One queue.
#[derive(Debug, Clone, Serialize)]
pub struct QueueExamined {
    /// Its name.
    pub name: String,
    /// On how many servers it is to be.
    pub replicas: u32,
    /// How full it is.
    pub bounds: Vec<Bound>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do.
    pub change: String,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work, or a promise is not kept.
    Fault,
    /// Something soon may not.
    Warning,
    /// Worth knowing.
    Note,
}

impl Examination {
    /// Whether anything is at fault.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }
}

/// Looks at everything. `servers` are those whose settings could be read: see [`Server::read`].
///
/// What may not be asked, or is not answered, is a finding and no error.
pub async fn examine(broker: &Broker, servers: Vec<Server>) -> Examination {
    find::examine(broker, servers).await
}
