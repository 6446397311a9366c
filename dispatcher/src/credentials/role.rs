//! Who connects to the broker.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use workfleet_proto::id::QueueName;

use crate::queues_file::QueuesFile;

/// What comes before the queue in the name of a worker's role.
const WORKER: &str = "worker-";

/// Who connects to the broker. All replicas of a program share a role: they are one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `workfleet provision`, `queue` and `blob sweep`: makes and removes what the broker holds.
    Provision,
    /// `workfleet serve`.
    Dispatcher,
    /// The workers of a queue: `worker-<queue>`.
    Worker(QueueName),
    /// Backups of all streams, and bringing them back, with the `nats` command.
    Backup,
    /// `workfleet audit` and `workfleet doctor`: looks at everything but blobs, and changes nothing.
    Audit,
    /// An operator's view of the servers themselves, in the account `SYS`: no tasks.
    Sys,
}

impl Role {
    /// The roles of a fleet.
    #[must_use]
    pub fn all(file: &QueuesFile) -> Vec<Self> {
        let workers = file.queues.iter().map(|queue| Self::Worker(queue.name.clone()));
        [Self::Provision, Self::Dispatcher]
            .into_iter()
            .chain(workers)
            .chain([Self::Backup, Self::Audit, Self::Sys])
            .collect()
    }

    /// What the role's clients put before every inbox, as `WORKFLEET_NATS_INBOX_PREFIX`: `_INBOX_<role>`. With inboxes
    /// of its own, no role can listen to the answers that another one gets.
    #[must_use]
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_{self}")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provision => f.write_str("provision"),
            Self::Dispatcher => f.write_str("dispatcher"),
            Self::Worker(queue) => write!(f, "{WORKER}{queue}"),
            Self::Backup => f.write_str("backup"),
            Self::Audit => f.write_str("audit"),
            Self::Sys => f.write_str("sys"),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "provision" => Ok(Self::Provision),
            "dispatcher" => Ok(Self::Dispatcher),
            "backup" => Ok(Self::Backup),
            "audit" => Ok(Self::Audit),
            "sys" => Ok(Self::Sys),
            _ => {
                let queue = text.strip_prefix(WORKER).and_then(|queue| queue.parse().ok());
                queue.map(Self::Worker).ok_or_else(|| RoleError(text.to_owned()))
            }
        }
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: provision, dispatcher, backup, audit, sys, or worker-<queue>")]
pub struct RoleError(String);
