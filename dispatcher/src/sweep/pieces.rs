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
            let mut unnamed: HashSet<String> = page.into_iter().collect();
            let mut pages = Pages::new(&self.broker, &queue.name, store, sweep.pace);
            while let Some(records) = pages.next().await? {
                for record in records {
                    if let Ok(Named { nuid }) = serde_json::from_slice(&record.payload) {
                        unnamed.remove(&format!("{prefix}{nuid}"));
                    }
                }
            }
            for subject in unnamed {
                // The last piece says when there was life: an upload under way has a young one.
                let last = read::last_on_subject(&self.broker, &stream, &subject).await?;
                if last.is_none_or(|last| last.time_ms > before_ms) {
                    continue;
                }
                found += 1;
                if sweep.action == SweepAction::Delete {
                    self.purge(&stream, &subject).await?;
                    offset = offset.saturating_sub(1);
                }
            }
        }
    }

    async fn purge(&self, stream: &str, subject: &str) -> Result<(), ApiError> {
        let handle = self.broker.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| unavailable(error.to_string()))?;
        handle.purge().filter(subject).await.map_err(|error| unavailable(error.to_string()))?;
        Ok(())
    }
}
