//! Removes blobs that are nobody's.
//!
//! A payload is stored before its task and an output before its result, so a crash leaves too much and never too little;
//! this finds it. It asks of each blob that is old enough where its task is, as a caller would. A record of owners was the
//! alternative, and could disagree with the tasks themselves.
//!
//! What it costs is bounded: records are read a page at a time, with a pause where nobody waits, and pieces are compared
//! a page of subjects at a time. Several dispatchers sweep beside each other without harm, since whatever one deletes is
//! nobody's for the others too. A copy, a result or a dead letter that cannot be read may name its task's blobs, so they
//! are left alone, and the rest is swept nevertheless.

mod garbled;
mod owner;
mod pieces;
mod records;

use std::time::Duration;

use serde::Serialize;
use workfleet_link::blobs::{self, BlobInfo};
use workfleet_link::time::now_ms;
use workfleet_proto::blob::{Owner, Store};

use crate::dispatcher::{Dispatcher, Inner};
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::SWEEP_AGE_MIN;

use garbled::Garbled;

/// What a sweep looks at, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    /// One queue alone; absent: all.
    pub queue: Option<String>,
    /// Nothing younger is looked at. Absent: the queue's retention, a day at least. A blob whose task is just being
    /// submitted is nobody's yet, so less than a minute is for queues at rest.
    pub older_than: Option<Duration>,
    /// What is done with what is found.
    pub action: SweepAction,
    /// How it shares the broker with others.
    pub pace: SweepPace,
}

/// What is done with what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SweepAction {
    /// It is deleted.
    #[default]
    Delete,
    /// It is counted.
    Count,
}

/// How a sweep shares the broker with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SweepPace {
    /// As fast as the broker answers: somebody waits for it.
    #[default]
    Fast,
    /// With a pause between two pages.
    Gentle,
}

/// What was found in a queue's object stores and was nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// The queue.
    pub queue: String,
    /// Blobs that were old enough to be looked at.
    pub checked: u64,
    /// Payloads that no copy of a task and no dead letter names.
    pub inputs: u64,
    /// Outputs that no result names.
    pub outputs: u64,
    /// Uploads older than the queue keeps them.
    pub uploads: u64,
    /// Blobs that were never finished: pieces without a record.
    pub unfinished: u64,
    /// Bytes of all these, where a record tells.
    pub bytes: u64,
}

impl Swept {
    fn count(&mut self, info: &BlobInfo) {
        self.bytes += info.bytes;
        match info.blob.owner() {
            Owner::Caller => self.uploads += 1,
            Owner::Input(_) => self.inputs += 1,
            Owner::Output(_) => self.outputs += 1,
        }
    }
}

impl Dispatcher {
    /// Removes what is nobody's from the object stores, and says how much it was, queue by queue.
    ///
    /// # Errors
    /// When there is no such queue, or the broker does not answer, for any of them; what was deleted until then stays deleted.
    pub async fn sweep(&self, sweep: &Sweep) -> Result<Vec<Swept>, ApiError> {
        let kinds = &self.inner().connected()?.kinds;
        let names = match &sweep.queue {
            Some(queue) => vec![queue.clone()],
            None => kinds.names().await?.iter().map(ToString::to_string).collect(),
        };
        let (mut all, mut unread) = (Vec::with_capacity(names.len()), None);
        for name in names {
            let swept = match kinds.queue(&name).await {
                Ok(queue) => self.inner().sweep_queue(&queue, sweep).await,
                Err(error) => Err(error),
            };
            match swept {
                Ok(swept) => all.push(swept),
                Err(error) if sweep.queue.is_some() => return Err(error),
                // It was retired since its name was read.
                Err(error) if error.code == Code::UnknownQueue => {}
                // What one queue is in want of must not keep every other queue's stores from being swept.
                Err(error) => {
                    tracing::warn!(queue = name, %error, "the stores of a queue are not swept, or not to the end");
                    unread = Some(error);
                }
            }
        }
        unread.filter(|_| all.is_empty()).map_or(Ok(all), Err)
    }
}

impl Inner {
    async fn sweep_queue(&self, queue: &Queue, sweep: &Sweep) -> Result<Swept, ApiError> {
        let mut swept = Swept { queue: queue.name.to_string(), ..Swept::default() };
        let before_ms = now_ms().saturating_sub(age_ms(queue, sweep));
        for store in [Store::In, Store::Out] {
            self.sweep_records(queue, store, before_ms, sweep, &mut swept).await?;
            swept.unfinished += self.sweep_pieces(queue, store, before_ms, sweep).await?;
        }
        if sweep.action == SweepAction::Delete {
            self.metrics.swept(&swept);
        }
        Ok(swept)
    }

    async fn sweep_records(
        &self,
        queue: &Queue,
        store: Store,
        before_ms: i64,
        sweep: &Sweep,
        swept: &mut Swept,
    ) -> Result<(), ApiError> {
        let mut pages = records::Pages::new(&self.broker, &queue.name, store, sweep.pace);
        let mut garbled = Garbled::default();
        while let Some(page) = pages.next().await? {
            for stored in page {
                let Some(info) = garbled.note(records::info(&queue.name, &stored))?.flatten() else { continue };
                // A record in the wrong store is none of ours.
                if info.stored_at_ms > before_ms || info.blob.store() != store {
                    continue;
                }
                swept.checked += 1;
                // Where it cannot be told, it is as if it were owned.
                if garbled.note(self.is_owned(queue, &info).await)?.unwrap_or(true) {
                    continue;
                }
                swept.count(&info);
                if sweep.action == SweepAction::Delete {
                    garbled.note(blobs::delete_exactly(&self.broker, &info).await.map_err(ApiError::from))?;
                }
            }
        }
        garbled.tell(queue, store);
        Ok(())
    }
}

fn age_ms(queue: &Queue, sweep: &Sweep) -> i64 {
    let ms = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    sweep.older_than.map_or_else(|| queue.settings.retention_ms.max(ms(SWEEP_AGE_MIN)), ms)
}
