//! How durable a broker is, in one letter. Pure.
//!
//! Four, since two settings make the difference: whether a write is on the disk before it is acknowledged, and whether it
//! is on more than one server. A number of points would say less: no sum of other settings makes up for either.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Server, SyncTime};

/// Replicas with which one server may be lost.
const REPLICAS_SAFE: u32 = 3;

/// How durable a broker is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Grade {
    /// Three replicas, written to the disk at once: a server may be lost, and the power of all.
    A,
    /// Three replicas, written later: a server may be lost; if several lose power at once, so may what was accepted last.
    B,
    /// One replica, written to the disk at once: the power may be lost, the disk may not, and nothing works meanwhile.
    C,
    /// One replica, written later: what was accepted last goes with the power, or with the operating system.
    D,
    /// Not everything that it depends on could be read.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Grade {
    /// The grade of what was read, and its meaning. `replicas` are those of the least safe stream; without queues, those
    /// that the servers allow; `None` where not every stream could be read.
    pub(super) fn of(servers: &[Server], cluster_size: Option<u64>, replicas: Option<u32>) -> (Self, String) {
        if servers.is_empty() {
            let meaning = "unknown: sync interval not readable. It is in no answer that the fleet's account gets: pass \
                           --monitor URL for each server, or --system-nkey-file with the key of the role sys";
            return (Self::Unknown, meaning.to_owned());
        }
        let seen = servers.len() as u64;
        if let Some(size) = cluster_size.filter(|size| *size > seen) {
            let meaning = format!(
                "unknown: sync interval not readable on {} of {size} servers: pass --monitor URL for each of them, or \
                 --system-nkey-file",
                size - seen
            );
            return (Self::Unknown, meaning);
        }
        if let Some(server) = servers.iter().find(|server| server.sync == SyncTime::Unknown) {
            return (Self::Unknown, format!("unknown: sync interval not readable: {} does not tell it", server.name));
        }
        let Some(replicas) = replicas else {
            return (Self::Unknown, "unknown: not every stream could be read: see what was found".to_owned());
        };
        let is_replicated = replicas >= REPLICAS_SAFE;
        // The laziest counts: it may be the one whose disk is needed.
        let lazy = servers.iter().map(|server| server.sync).find(|sync| *sync != SyncTime::Always);
        match (is_replicated, lazy) {
            (true, None) => (Self::A, "one server may be lost, and the power of all of them".to_owned()),
            (true, Some(sync)) => {
                let meaning =
                    "one server may be lost; if several lose their power at once, what was accepted in the last";
                (Self::B, format!("{meaning} {sync} may be lost with it"))
            }
            (false, None) => {
                let meaning = "the power may be lost; the disk of the one server that has a queue may not, and while that \
                               server is away nothing is accepted";
                (Self::C, meaning.to_owned())
            }
            (false, Some(sync)) => {
                let meaning = "with the power, or the operating system, of the one server that has a queue, what was \
                               accepted in the last";
                (Self::D, format!("{meaning} {sync} may be lost; with its disk, everything"))
            }
        }
    }

    /// What makes it better; nothing for the best, and for one that is not known.
    pub(super) fn advice(self) -> Option<&'static str> {
        match self {
            Self::A | Self::Unknown => None,
            Self::B => Some("set `sync_interval: always` in jetstream {} of each server's configuration"),
            Self::C => Some("run three servers, and set `replicas = 3` in the queues file"),
            Self::D => Some(
                "run three servers with `sync_interval: always` in jetstream {}, and set `replicas = 3` in the queues file",
            ),
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::Unknown => "unknown",
        })
    }
}

impl FromStr for Grade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let grades = [Self::A, Self::B, Self::C, Self::D];
        grades
            .into_iter()
            .find(|grade| grade.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| "A, B, C or D".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Server, SyncTime};
    use super::Grade;

    fn servers(syncs: &[SyncTime]) -> Vec<Server> {
        let server = |sync: &SyncTime| Server {
            id: "A".to_owned(),
            name: "a".to_owned(),
            version: "2.15.1".to_owned(),
            sync: *sync,
            payload_bytes_max: 1 << 20,
            store_bytes_max: 0,
            store_bytes_reserved: 0,
            store_bytes: 0,
            replicated_assets: 0,
            cluster_size: Some(syncs.len() as u64),
        };
        syncs.iter().map(server).collect()
    }

    #[test]
    fn replicas_and_the_disk_make_the_grade_and_what_is_not_seen_makes_none() {
        const LATER: SyncTime = SyncTime::Every(120_000_000_000);
        let grade =
            |syncs: &[SyncTime], replicas| Grade::of(&servers(syncs), Some(syncs.len() as u64), Some(replicas)).0;
        assert_eq!(grade(&[SyncTime::Always; 3], 3), Grade::A);
        assert_eq!(grade(&[LATER; 3], 3), Grade::B);
        assert_eq!(grade(&[SyncTime::Always, LATER, SyncTime::Always], 3), Grade::B, "the laziest counts");
        assert_eq!(grade(&[SyncTime::Always; 3], 1), Grade::C, "three servers, of which each queue is on one");
        assert_eq!(grade(&[LATER], 1), Grade::D);
        assert_eq!(grade(&[SyncTime::Always], 1), Grade::C);
        assert_eq!(grade(&[], 3), Grade::Unknown);
        assert_eq!(grade(&[SyncTime::Always, SyncTime::Unknown], 3), Grade::Unknown);
        assert_eq!(Grade::of(&servers(&[SyncTime::Always; 2]), Some(3), Some(3)).0, Grade::Unknown, "one was not seen");
        assert_eq!(
            Grade::of(&servers(&[SyncTime::Always; 3]), Some(3), None).0,
            Grade::Unknown,
            "nor were the streams"
        );
    }
}
