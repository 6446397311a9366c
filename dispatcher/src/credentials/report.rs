//! What was made, and what was kept.

use std::path::PathBuf;

use serde::Serialize;

use super::Role;
use super::rotation::Keys;

/// What [`write`](super::write()) did. It names files and public keys, and has no secret in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One line for each role.
    pub lines: Vec<ReportLine>,
    /// What became of `auth.conf`. When it changed, the servers must be told: `nats-server --signal reload`.
    pub auth_conf: Change,
    /// Seeds of roles that are no longer in the queues file, and that no server knows any more: to be deleted.
    pub left: Vec<PathBuf>,
}

/// A role and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportLine {
    /// The role.
    pub role: Role,
    /// Where its seed is: a secret, for the processes of this role alone.
    pub seed_file: PathBuf,
    /// The public key.
    pub public_key: String,
    /// The one before, as long as it is good too.
    pub previous_key: Option<String>,
    /// What the role's clients put before their inboxes: `WORKFLEET_NATS_INBOX_PREFIX`.
    pub inbox_prefix: String,
    /// What was done.
    pub change: Change,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    Made,
    /// It was there, and is as it was.
    #[default]
    Kept,
    /// It was there, and is another now.
    Changed,
    /// There is a new key, and the one before is good until the rotation is finished.
    Rotated,
    /// The key before is good no more.
    Finished,
    /// There is a new key, and none before it is good any more.
    Replaced,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::Rotated => "rotated",
            Self::Finished => "finished",
            Self::Replaced => "replaced",
        }
    }
}

impl ReportLine {
    pub(super) fn new(role: &Role, seed_file: PathBuf, keys: &Keys, change: Change) -> Self {
        Self {
            role: role.clone(),
            seed_file,
            public_key: keys.current.clone(),
            previous_key: keys.previous.clone(),
            inbox_prefix: role.inbox_prefix(),
            change,
        }
    }
}
