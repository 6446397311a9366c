//! What is in a queue: counts from the streams and consumers themselves, and who works.

use futures::future::{join_all, try_join, try_join_all};
use prost::Message as _;
use workfleet_link::broker::NatsHeaders;
use workfleet_link::read::{self, ReadError};
use workfleet_link::time::now_ms;
use workfleet_proto::names::{DelayPart, Lane};
use workfleet_proto::v1::WorkerRecord;
use workfleet_proto::wire::CopyHeaders;

use crate::ask::{self, ConsumerState};
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::WORKERS_LISTED_MAX;
use crate::view::{KindNames, QueueList, QueueView, ScaleView, UnixMs, WorkerView};

/// What the streams say of a queue.
struct Counts {
    lanes: Vec<(Lane, ConsumerState)>,
    due: u64,
}

impl Counts {
    fn waiting(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.num_pending).sum()
    }

    fn running(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.num_ack_pending).sum()
    }
}

impl Inner {
    /// All queues; those that do not answer are named.
    ///
    /// # Errors
    /// When none of them answers.
    pub(crate) async fn queue_list(&self) -> Result<QueueList, ApiError> {
        let names = self.kinds.names().await?;
        let looked = names.iter().map(|name| async {
            let queue = self.kinds.queue(name.as_str()).await?;
            self.queue_view(&queue).await
        });
        let mut list = QueueList { queues: Vec::new(), unreadable: Vec::new() };
        let mut why = None;
        for (name, queue) in names.iter().zip(join_all(looked).await) {
            match queue {
                Ok(queue) => list.queues.push(queue),
                // It went while it was asked.
                Err(error) if error.code == Code::UnknownQueue => {}
                Err(error) => {
                    tracing::debug!(queue = %name, %error, "a queue cannot be looked at");
                    list.unreadable.push(name.to_string());
                    why = Some(error);
                }
            }
        }
        match why {
            Some(error) if list.unreadable.len() == names.len() => Err(error),
            _ => Ok(list),
        }
    }

    /// A queue as callers see it.
    pub(crate) async fn queue_view(&self, queue: &Queue) -> Result<QueueView, ApiError> {
        let names = &self.broker.names;
        let delay = names.delay_stream(&queue.name);
        let (counts, delayed) = try_join(self.counts(queue), ask::stream(&self.broker, &delay)).await?;
        // Timers of deadlines lie there too, and are no tasks.
        let timers = if delayed.messages > counts.due { ask::deadlines(&self.broker, &queue.name).await? } else { 0 };
        let dead = match ask::stream(&self.broker, &names.dead_stream(&queue.name)).await {
            // The queue was provisioned before each had a stream of its own.
            Err(ReadError::NoStream { .. }) => 0,
            dead => dead?.messages,
        };
        Ok(QueueView {
            name: queue.name.to_string(),
            paused: counts.lanes.iter().any(|(_, lane)| lane.paused),
            waiting: counts.waiting(),
            running: counts.running(),
            due: counts.due,
            scheduled: delayed.messages.saturating_sub(counts.due + timers),
            dead,
            oldest_waiting_ms: self.oldest_waiting_ms(queue, &counts).await?,
            workers: self.workers(queue).await?,
            kind: queue
                .kind
                .as_ref()
                .map(|kind| KindNames { input: kind.record.input.clone(), output: kind.record.output.clone() }),
        })
    }

    /// What an autoscaler needs.
    pub(crate) async fn scale_view(&self, queue: &Queue) -> Result<ScaleView, ApiError> {
        let counts = self.counts(queue).await?;
        let (waiting, running, due) = (counts.waiting(), counts.running(), counts.due);
        Ok(ScaleView { value: waiting + running + due, waiting, running, due })
    }

    async fn counts(&self, queue: &Queue) -> Result<Counts, ReadError> {
        let names = &self.broker.names;
        let tasks = names.tasks_stream(&queue.name);
        let lanes = queue.lanes.iter().map(|lane| async {
            let state = ask::consumer(&self.broker, &tasks, &names.work_consumer(*lane)).await?;
            Ok::<_, ReadError>((*lane, state))
        });
        let delay = names.delay_stream(&queue.name);
        let due = async {
            match ask::consumer(&self.broker, &delay, names.due_consumer()).await {
                // Nobody takes them, since the queue was not provisioned again: they are due all the same.
                Err(ReadError::NoStream { .. }) => {
                    ask::count(&self.broker, &delay, &names.delay_all(DelayPart::Due, &queue.name)).await
                }
                due => due.map(|due| due.num_pending + due.num_ack_pending),
            }
        };
        let (lanes, due) = try_join(try_join_all(lanes), due).await?;
        Ok(Counts { lanes, due })
    }

    /// Age of the oldest task that was never delivered.
    async fn oldest_waiting_ms(&self, queue: &Queue, counts: &Counts) -> Result<Option<i64>, ReadError> {
        let names = &self.broker.names;
        let tasks = names.tasks_stream(&queue.name);
        let mut oldest = None;
        for (lane, state) in counts.lanes.iter().filter(|(_, state)| state.num_pending > 0) {
            let filter = names.task_lane(&queue.name, *lane);
            let next = ask::next_on(&self.broker, &tasks, state.delivered.stream_seq + 1, &filter).await?;
            let since = next.map(|message| {
                // A task that was moved here keeps the time of its first copy; it waits since it was due.
                let headers = CopyHeaders::read(&NatsHeaders(&message.headers));
                headers.ok().map(|headers| headers.due_ms).filter(|due_ms| *due_ms > 0).unwrap_or(message.time_ms)
            });
            oldest = oldest.into_iter().chain(since).min();
        }
        Ok(oldest.map(|since_ms| (now_ms() - since_ms).max(0)))
    }

    async fn workers(&self, queue: &Queue) -> Result<Vec<WorkerView>, ApiError> {
        let bucket = self.broker.names.workers_bucket();
        let prefix = format!("$KV.{bucket}.");
        let filter = format!("{prefix}{}.>", queue.name);
        let keys = ask::subjects(&self.broker, &format!("KV_{bucket}"), &filter, WORKERS_LISTED_MAX).await?;
        let reads = keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(|key| {
            let bucket = &bucket;
            async move { read::key_value(&self.broker, bucket, key).await }
        });
        let records = try_join_all(reads).await?;
        Ok(records.into_iter().flatten().filter_map(|record| worker(record.payload)).collect())
    }
}

/// A record that cannot be read is nobody's.
fn worker(bytes: bytes::Bytes) -> Option<WorkerView> {
    let record = WorkerRecord::decode(bytes).ok()?;
    Some(WorkerView {
        id: record.id,
        host: record.host,
        version: record.version,
        slots: record.slots,
        busy: record.busy,
        started_at: UnixMs(record.started_at_ms),
    })
}
