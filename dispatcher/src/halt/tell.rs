//! Workers are told of tasks that have been halted: one request on `wf.cancel.<queue>` for all of them, which every live
//! worker answers.
//!
//! Who has to answer stands in `WORKERS`. The keys there are one question, whatever their number; what each of them says is
//! read for those alone that keep silent, since a worker that has left leaves its key behind for a while. To read all records
//! first was the alternative, and would make each cancel as dear as the fleet is large.
//!
//! Records live for ten seconds, and a bucket without a leader takes none: so nobody in it is no proof that nobody works. Then
//! whoever holds a task of the queue counts as one worker that has not confirmed, however many there are.

use std::collections::BTreeSet;

use async_nats::{StatusCode, Subscriber};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use workfleet_link::read::{self, ReadError};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{FleetCancel, FleetCancelReply};

use super::Halting;
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;
use crate::limits::{CANCEL_ANSWER_TIME_MAX, CANCEL_READS_MAX, WORKERS_TOLD_MAX};

impl Inner {
    /// Tells the queue's workers, and gives the number of those that have not confirmed in time. `is_held`: one of the tasks
    /// ran, and what shows that is taken out of the queue by now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn tell(
        &self,
        queue: &Queue,
        ids: &[TaskId],
        halting: &Halting,
        is_held: bool,
    ) -> Result<u32, ApiError> {
        let client = &self.broker.client;
        let inbox = client.new_inbox();
        let answers = self.subscribe(inbox.clone()).await?;
        let until = Instant::now() + CANCEL_ANSWER_TIME_MAX;
        let subject = self.broker.names.cancel(&queue.name);
        let sent = client.publish_with_reply(subject, inbox, message(ids, halting).into()).await;
        sent.map_err(|error| unavailable(error.to_string()))?;
        let registered = self.registered(queue).await?;
        let known = registered.len();
        let silent = silent(registered, answers, until).await;
        let has_answered = silent.len() < known;
        match self.living(queue, silent).await? {
            0 if !has_answered => Ok(u32::from(is_held || self.holds_any(queue).await)),
            living => Ok(living),
        }
    }

    /// Tells them without waiting for an answer.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(super) async fn pass_on(&self, queue: &Queue, ids: &[TaskId], halting: &Halting) -> Result<(), ApiError> {
        let subject = self.broker.names.cancel(&queue.name);
        let sent = self.broker.client.publish(subject, message(ids, halting).into()).await;
        sent.map_err(|error| unavailable(error.to_string()))
    }

    /// Workers that live, or did so a moment ago.
    async fn registered(&self, queue: &Queue) -> Result<BTreeSet<String>, ApiError> {
        let bucket = self.broker.names.workers_bucket();
        let prefix = format!("$KV.{bucket}.{}.", queue.name);
        let filter = format!("{prefix}>");
        let keys = ask::subjects(&self.broker, &format!("KV_{bucket}"), &filter, WORKERS_TOLD_MAX).await?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix).map(ToOwned::to_owned)).collect())
    }

    /// Whether a worker holds a task of the queue. Where that cannot be seen, one may.
    async fn holds_any(&self, queue: &Queue) -> bool {
        let names = &self.broker.names;
        let tasks = names.tasks_stream(&queue.name);
        for lane in &queue.lanes {
            match ask::consumer(&self.broker, &tasks, &names.work_consumer(*lane)).await {
                // A lane that was taken away.
                Err(ReadError::NoStream { .. }) => {}
                Ok(consumer) if consumer.num_ack_pending == 0 => {}
                Ok(_) | Err(_) => return true,
            }
        }
        false
    }

    /// How many of them have a record still.
    async fn living(&self, queue: &Queue, workers: BTreeSet<String>) -> Result<u32, ApiError> {
        let names = &self.broker.names;
        let bucket = names.workers_bucket();
        let bucket = &bucket;
        let reads = workers.into_iter().map(|worker| async move {
            read::key_value(&self.broker, bucket, &names.worker_key(&queue.name, &worker)).await
        });
        let mut reads = stream::iter(reads).buffer_unordered(CANCEL_READS_MAX);
        let mut living = 0;
        while let Some(record) = reads.next().await {
            living += u32::from(record?.is_some());
        }
        Ok(living)
    }
}

fn message(ids: &[TaskId], halting: &Halting) -> Vec<u8> {
    let ids = ids.iter().map(ToString::to_string).collect();
    FleetCancel { ids, state: halting.cause.state().into(), reason: halting.reason.clone() }.encode_to_vec()
}

/// Those of `registered` that have not answered in time.
async fn silent(mut registered: BTreeSet<String>, mut answers: Subscriber, until: Instant) -> BTreeSet<String> {
    while !registered.is_empty() {
        let Ok(Some(answer)) = timeout_at(until, answers.next()).await else { break };
        // Nobody listens: they are all of a version that knows no cancel.
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        if let Ok(reply) = FleetCancelReply::decode(answer.payload) {
            registered.remove(&reply.worker);
        }
    }
    registered
}
