//! Whether anything that was accepted is lost: every id of a ledger, and where its task is.
//!
//! A ledger is read in chunks, and a chunk is looked for in the order in which tasks end: results, dead letters, copies,
//! events, each with one question for all ids. Those go to any replica, which may be behind: so only a yes counts. What
//! is found nowhere is looked for one by one from the leaders, in the order in which copies travel, and again after a
//! pause: an id in motion between two reads is not lost.
//!
//! To list the streams whole and compare was the alternative: it is quicker for a ledger of everything, and reads a
//! million results for a ledger of ten tasks.

mod chunk;
mod confirm;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use futures::stream::{Stream, TryStreamExt as _};
use serde::Serialize;
use workfleet_proto::id::TaskId;

use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::ledger::{Entry, LedgerError, Read};
use crate::limits::{AUDIT_CHUNK_IDS, AUDIT_CHUNKS_MAX, AUDIT_IDS_MAX, AUDIT_IDS_NAMED_MAX, AUDIT_LINES_NAMED_MAX};

/// Where the tasks of a ledger are. `total` is the sum of the counts, of `lost`, and of `unreadable`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Tasks of the ledger, each counted once.
    pub total: u64,
    /// In the queue, or due and on the way into it.
    pub waiting: u64,
    /// Their time has not come, be it the first or a retry's.
    pub scheduled: u64,
    /// A worker holds them.
    pub running: u64,
    /// Ended with an output.
    pub completed: u64,
    /// Ended without one.
    pub failed: u64,
    /// Ended because a caller asked for it.
    pub cancelled: u64,
    /// Ended because their deadline passed.
    pub expired: u64,
    /// Found nowhere, and older than what the queue keeps of ended tasks: no longer kept, and nobody can tell.
    pub beyond_retention: u64,
    /// Of these, some: a thousand at most.
    pub no_longer_kept: Vec<String>,
    /// Found nowhere, though they should be somewhere.
    pub lost: Vec<String>,
    /// Of the failed: those that have no dead letter, though it would be kept still.
    pub failed_without_letter: Vec<String>,
    /// Of the failed: those whose redrive died in the middle. Their letters are there, to be redriven again.
    pub redrive_unfinished: Vec<String>,
    /// Something is stored of them that cannot be read.
    pub unreadable: Vec<String>,
    /// Lines for a task that had one before.
    pub repeated: u64,
    /// Lines that name no task: `FILE:LINE`, a hundred at most.
    pub unreadable_lines: Vec<String>,
    /// Last lines that somebody died over.
    pub torn_lines: u64,
}

impl Audit {
    /// Whether each task is where it should be. Who has dropped dead letters himself does not look for them.
    #[must_use]
    pub fn accounts_for_all(&self, letters: Letters) -> bool {
        let letters_are_there = letters == Letters::MayBeDropped || self.failed_without_letter.is_empty();
        self.lost.is_empty() && self.unreadable.is_empty() && letters_are_there
    }

    /// Whether nothing is stored of any task of the ledger. That is rather another broker, or another fleet's name on it, than a
    /// loss of everything.
    #[must_use]
    pub fn knows_none(&self) -> bool {
        self.total > 0 && self.total == self.lost.len() as u64 + self.beyond_retention
    }

    fn add(&mut self, id: &TaskId, fate: Fate) {
        self.total += 1;
        match fate {
            Fate::Waiting => self.waiting += 1,
            Fate::Scheduled => self.scheduled += 1,
            Fate::Running => self.running += 1,
            Fate::Completed => self.completed += 1,
            Fate::Failed => self.failed += 1,
            Fate::FailedWithoutLetter => {
                self.failed += 1;
                self.failed_without_letter.push(id.to_string());
            }
            Fate::RedriveUnfinished => {
                self.failed += 1;
                self.redrive_unfinished.push(id.to_string());
            }
            Fate::Cancelled => self.cancelled += 1,
            Fate::Expired => self.expired += 1,
            Fate::BeyondRetention => {
                self.beyond_retention += 1;
                if self.no_longer_kept.len() < AUDIT_IDS_NAMED_MAX {
                    self.no_longer_kept.push(id.to_string());
                }
            }
            Fate::Unreadable => self.unreadable.push(id.to_string()),
            Fate::Lost => self.lost.push(id.to_string()),
        }
    }
}

/// Whether a failed task must have its dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// It must.
    Kept,
    /// An operator may have dropped it.
    MayBeDropped,
}

/// Where one task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Scheduled,
    Running,
    Completed,
    Failed,
    FailedWithoutLetter,
    RedriveUnfinished,
    Cancelled,
    Expired,
    BeyondRetention,
    Unreadable,
    Lost,
}

/// Why an audit has no result.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// More tasks than are kept in mind at once.
    #[error("the ledger has more than {AUDIT_IDS_MAX} tasks; audit it in parts")]
    TooLong,
    /// The broker does not answer.
    #[error(transparent)]
    Broker(#[from] ApiError),
}

/// Knows whether an id came before, by 128 bits of each.
struct Seen {
    keys: [RandomState; 2],
    ids: HashSet<(u64, u64)>,
}

impl Seen {
    fn new() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], ids: HashSet::new() }
    }

    fn is_new(&mut self, id: &TaskId) -> bool {
        let [first, second] = self.keys.each_ref().map(|key| key.hash_one(id.as_str()));
        self.ids.insert((first, second))
    }
}

impl Dispatcher {
    /// Looks where every task of a ledger is.
    ///
    /// # Errors
    /// When the ledger cannot be read, is too long, or the broker does not answer.
    pub async fn audit(&self, ledger: impl Stream<Item = Result<Read, LedgerError>>) -> Result<Audit, AuditError> {
        let (mut audit, mut notes, mut seen) = (Audit::default(), Audit::default(), Seen::new());
        {
            let entries =
                ledger.map_err(AuditError::from).try_filter_map(|read| std::future::ready(notes.read(read, &mut seen)));
            let chunks = entries.try_chunks(AUDIT_CHUNK_IDS).map_err(|error| error.1);
            let looks = chunks.map_ok(|entries| async { Ok(self.inner().audit_chunk(entries).await?) });
            let mut looks = std::pin::pin!(looks.try_buffer_unordered(AUDIT_CHUNKS_MAX));
            while let Some(fates) = looks.try_next().await? {
                fates.iter().for_each(|(id, fate)| audit.add(id, *fate));
            }
        }
        let Audit { repeated, unreadable_lines, torn_lines, .. } = notes;
        audit.lost.sort_unstable();
        audit.no_longer_kept.sort_unstable();
        Ok(Audit { repeated, unreadable_lines, torn_lines, ..audit })
    }
}

impl Audit {
    /// Gives a task that was not met before, and notes everything else.
    fn read(&mut self, read: Read, seen: &mut Seen) -> Result<Option<Entry>, AuditError> {
        match read {
            Read::Task(entry) if seen.is_new(&entry.id) => {
                return if seen.ids.len() > AUDIT_IDS_MAX { Err(AuditError::TooLong) } else { Ok(Some(entry)) };
            }
            Read::Task(_) => self.repeated += 1,
            Read::Unreadable(place) if self.unreadable_lines.len() < AUDIT_LINES_NAMED_MAX => {
                self.unreadable_lines.push(place);
            }
            Read::Unreadable(_) => {}
            Read::Torn(_) => self.torn_lines += 1,
        }
        Ok(None)
    }
}
