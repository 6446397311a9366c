//! Pieces that no record names: an upload that broke off together with its dispatcher, or a deletion that was cut short.
//!
//! A record names its pieces, and pieces do not name their record; so each page of pieces is compared with all records.
//! A table of all pieces would be quicker and would grow with the store.

use std::collections::HashSet;

use serde::Deserialize;
use workfleet_link::read;
use workfleet_proto::blob::Store;

use super::{Sweep, SweepAction, records::Pages};
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;

/// What every record has, whoever wrote it.
#[derive(Deserialize)]
struct Named {
    nuid: String,
}

impl Inner {
    /// How many blobs there are pieces of, and no record.
    pub(super) async fn sweep_pieces(
        &self,
        queue: &Queue,
        store: Store,
        before_ms: i64,
        sweep: &Sweep,
    ) -> Result<u64, ApiError> {
        let name = self.broker.names.object_store(store, &queue.name);
        let (stream, prefix) = (format!("OBJ_{name}"), format!("$O.{name}.C."));
        let (mut found, mut offset) = (0, 0);
        loop {
            let page = ask::subjects_from(&self.broker, &stream, &format!("{prefix}>"), offset).await?;
            if page.is_empty() {
                return Ok(found);
            }
            offset += page.len() as u64;
            let Some(unnamed) = self.unnamed(queue, store, page, before_ms, sweep).await? else { return Ok(found) };
            for subject in unnamed {
                found += 1;
                if sweep.action == SweepAction::Delete {
                    self.purge(&stream, &subject).await?;
                    offset = offset.saturating_sub(1);
                }
            }
        }
    }

    /// Those of a page that no record names and that are old enough; `None`: it cannot be told now.
    ///
    /// Records are read from any replica. One that is behind, or was just restored, gives fewer than there are, and what
    /// it leaves out must not cost a blob its pieces: so the leader counts them, before and after.
    async fn unnamed(
        &self,
        queue: &Queue,
        store: Store,
        page: Vec<String>,
        before_ms: i64,
        sweep: &Sweep,
    ) -> Result<Option<Vec<String>>, ApiError> {
        let name = self.broker.names.object_store(store, &queue.name);
        let (stream, prefix, records) = (format!("OBJ_{name}"), format!("$O.{name}.C."), format!("$O.{name}.M.>"));
        let before = ask::count(&self.broker, &stream, &records).await?;
        let mut unnamed: HashSet<String> = page.into_iter().collect();
        let mut read = 0;
        let mut pages = Pages::new(&self.broker, &queue.name, store, sweep.pace);
        while let Some(records) = pages.next().await? {
            read += records.len() as u64;
            for record in records {
                if let Ok(Named { nuid }) = serde_json::from_slice(&record.payload) {
                    unnamed.remove(&format!("{prefix}{nuid}"));
                }
            }
        }
        let mut old = Vec::new();
        for subject in unnamed {
            // The last piece says when there was life: an upload under way has a young one.
            let last = read::last_on_subject(&self.broker, &stream, &subject).await?;
            if last.is_some_and(|last| last.time_ms <= before_ms) {
                old.push(subject);
            }
        }
        if !old.is_empty() && !is_complete(read, before, ask::count(&self.broker, &stream, &records).await?) {
            tracing::warn!(store = name, read, "pieces are not swept now: not every record of the store was read");
            return Ok(None);
        }
        Ok(Some(old))
    }

    async fn purge(&self, stream: &str, subject: &str) -> Result<(), ApiError> {
        let handle = self.broker.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| unavailable(error.to_string()))?;
        handle.purge().filter(subject).await.map_err(|error| unavailable(error.to_string()))?;
        Ok(())
    }
}

/// Whether so many records may be all that the leader had. What came or went meanwhile is in one of its counts alone.
fn is_complete(read: u64, before: u64, after: u64) -> bool {
    read >= before.min(after)
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn fewer_records_than_the_leader_has_are_not_taken_for_all() {
        for (read, before, after, complete) in
            [(5, 5, 5, true), (4, 5, 5, false), (5, 5, 9, true), (3, 5, 3, true), (2, 5, 3, false), (0, 0, 0, true)]
        {
            assert_eq!(is_complete(read, before, after), complete, "{read} of {before}, then {after}");
        }
    }
}
