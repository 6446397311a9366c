//! Raw schedules, and who counts them where they arrive.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::PullConsumer};
use futures::StreamExt as _;
use jiff::Timestamp;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::{Lane, Names, header};
use workfleet_tests::{eventually, eventually_within};

/// When the first is due; all are stored by then.
const DUE_AFTER: Duration = Duration::from_secs(3);
/// Publishes whose answer is awaited at once.
const WINDOW: usize = 200;
const LOOK: Duration = Duration::from_millis(100);
const PULL_MAX: usize = 50;
const PULL_EXPIRES: Duration = Duration::from_millis(500);
/// Nothing new for so long is nothing more.
const STILL_MAX: Duration = Duration::from_secs(120);
/// A second copy would come soon after the last first one.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// For each id, the sequences of its copies, and how often they were delivered in all.
pub(crate) type Seen = BTreeMap<String, (BTreeSet<u64>, usize)>;

/// What became of the schedules, and what proves that there was trouble.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) schedules: usize,
    /// Never arrived.
    pub(crate) lost: usize,
    /// Were stored in the queue more than once.
    pub(crate) twice: usize,
    /// Still in the delay stream.
    pub(crate) left: u64,
    /// Deliveries of a stored copy beyond its first.
    pub(crate) redelivered: usize,
    /// How long the queue was full.
    pub(crate) full_ms: u64,
    /// New leaders of streams and consumers.
    pub(crate) elections: u64,
    took_ms: u128,
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "schedules {:5} | lost {} twice {} left {} | redelivered {:4} | full {:6} ms | elections {:3} | {:6} ms",
            self.schedules,
            self.lost,
            self.twice,
            self.left,
            self.redelivered,
            self.full_ms,
            self.elections,
            self.took_ms
        )
    }
}

/// Looks at the streams from the side.
pub(crate) struct Watch {
    jetstream: jetstream::Context,
    full_ms: Arc<AtomicU64>,
    elections: Arc<AtomicU64>,
    begun: Instant,
}

impl Watch {
    pub(crate) async fn start(jetstream: &jetstream::Context, tasks_max: u64) -> Self {
        let full_ms = Arc::new(AtomicU64::new(0));
        let elections = Arc::new(AtomicU64::new(0));
        let (looking, sum) = (jetstream.clone(), Arc::clone(&full_ms));
        tokio::spawn(async move {
            loop {
                let looked = Instant::now();
                let full = messages(&looking, "TASKS_probe").await.is_some_and(|messages| messages >= tasks_max);
                tokio::time::sleep(LOOK).await;
                if full {
                    sum.fetch_add(u64::try_from(looked.elapsed().as_millis()).unwrap_or(0), Ordering::Relaxed);
                }
            }
        });
        for kind in ["STREAM", "CONSUMER"] {
            let subject = format!("$JS.EVENT.ADVISORY.{kind}.LEADER_ELECTED.>");
            let mut heard = jetstream.client().subscribe(subject).await.expect("connected");
            let elections = Arc::clone(&elections);
            tokio::spawn(async move {
                while heard.next().await.is_some() {
                    elections.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { jetstream: jetstream.clone(), full_ms, elections, begun: Instant::now() }
    }

    /// Waits until the queue has been full.
    pub(crate) async fn full(&self) {
        let full = async || (self.full_ms.load(Ordering::Relaxed) > 0).then_some(());
        eventually("the queue is full", full).await;
    }

    pub(crate) async fn count(&self, ids: &HashSet<String>, seen: Seen) -> Count {
        let look = async || messages(&self.jetstream, "DELAY_probe").await;
        let left = eventually("DELAY answers", look).await;
        Count {
            schedules: ids.len(),
            lost: ids.iter().filter(|id| !seen.contains_key(*id)).count(),
            twice: seen.values().filter(|(sequences, _)| sequences.len() > 1).count(),
            left,
            redelivered: seen.values().map(|(sequences, deliveries)| deliveries - sequences.len()).sum(),
            full_ms: self.full_ms.load(Ordering::Relaxed),
            elections: self.elections.load(Ordering::Relaxed),
            took_ms: self.begun.elapsed().as_millis(),
        }
    }
}

async fn messages(jetstream: &jetstream::Context, stream: &str) -> Option<u64> {
    let asked = jetstream.get_stream(stream);
    let stream = tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
    Some(stream.cached_info().state.messages)
}

/// Stores schedules that fire into the queue within this time, and gives their ids.
pub(crate) async fn publish(jetstream: &jetstream::Context, count: usize, within: Duration) -> HashSet<String> {
    let names = Names::default();
    let queue: QueueName = "probe".parse().expect("a name");
    let due = Timestamp::now() + DUE_AFTER;
    let publishes = (0..count).map(|number| {
        let id = TaskId::new(&queue, 0, rand::random(), None);
        let later = within.mul_f64(number as f64 / count as f64);
        let mut headers = HeaderMap::new();
        headers.insert(header::SCHEDULE, format!("@at {}", due + later));
        headers.insert(header::SCHEDULE_TARGET, names.delay_due(&id, Lane::DEFAULT));
        // What its message id in the queue is made of.
        headers.insert(header::RUN, "1");
        headers.insert(header::ATTEMPT, "1");
        let subject = names.delay_at(&id);
        async move {
            let ack = jetstream.publish_with_headers(subject, headers, "x".into()).await.expect("sent");
            ack.await.expect("stored");
            id.as_str().to_owned()
        }
    });
    futures::stream::iter(publishes).buffer_unordered(WINDOW).collect().await
}

/// Empties the queue until everything has come, or nothing comes any more.
pub(crate) async fn pull(jetstream: &jetstream::Context, count: usize) -> Seen {
    let mut seen = Seen::new();
    let mut last = Instant::now();
    let consumer = Names::default().work_consumer(Lane::DEFAULT);
    loop {
        let before = seen.len();
        if pull_some(jetstream, &consumer, &mut seen).await.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        if seen.len() > before {
            last = Instant::now();
        }
        let patience = if seen.len() >= count { AFTERWARDS } else { STILL_MAX };
        if last.elapsed() > patience {
            break;
        }
    }
    let empty = async || {
        pull_some(jetstream, &consumer, &mut seen).await;
        (messages(jetstream, "TASKS_probe").await == Some(0)).then_some(())
    };
    eventually_within(Duration::from_secs(60), "the queue is empty", empty).await;
    seen
}

async fn pull_some(jetstream: &jetstream::Context, consumer: &str, seen: &mut Seen) -> Option<()> {
    let stream = jetstream.get_stream("TASKS_probe").await.ok()?;
    let consumer: PullConsumer = stream.get_consumer(consumer).await.ok()?;
    let mut batch = consumer.fetch().max_messages(PULL_MAX).expires(PULL_EXPIRES).messages().await.ok()?;
    // A batch of a server that is gone may never end.
    while let Ok(Some(message)) = tokio::time::timeout(2 * PULL_EXPIRES, batch.next()).await {
        let message = message.ok()?;
        let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let sequence = message.info().ok()?.stream_sequence;
        let copies = seen.entry(id).or_default();
        copies.0.insert(sequence);
        copies.1 += 1;
        let _ = message.ack().await;
    }
    Some(())
}
