//! How many tasks have ended, looked at several times a second.
//!
//! Asked of a consumer on the results that nobody pulls from: how much is pending there is how much there is. To count
//! what is republished instead would lose count whenever the watching connection's server dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer};
use tokio::task::AbortHandle;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::Names;

const LOOK: Duration = Duration::from_millis(200);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The rate before a fault is that of so long.
const BEFORE: Duration = Duration::from_secs(4);
/// Full speed is to last so long.
const WINDOW: Duration = Duration::from_secs(1);
/// A fault that is felt at all is felt within this time: what workers hold already ends yet.
const FELT_WITHIN: Duration = Duration::from_secs(5);
/// Part of the rate before that is full speed.
const FULL_SPEED: f64 = 0.8;

/// The consumer's name.
pub(crate) const CONSUMER: &str = "CHAOS";

/// Counts in the background until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<Counting>);

#[derive(Debug)]
struct Counting {
    counted: Arc<Counted>,
    looking: AbortHandle,
}

#[derive(Debug, Default)]
struct Counted {
    results: AtomicU64,
    looks: Mutex<Vec<(Instant, u64)>>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Pace {
    /// Begins to count; the fleet's streams are there.
    pub(crate) async fn start(jetstream: &jetstream::Context, replicas: usize) -> Self {
        let (names, queue): (Names, QueueName) = (Names::default(), "probe".parse().expect("a name"));
        let stream = jetstream.get_stream_no_info(names.results_stream(&queue)).await.expect("a name");
        let config = consumer::pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            filter_subject: names.result_all(&queue),
            ack_policy: consumer::AckPolicy::None,
            num_replicas: replicas,
            ..Default::default()
        };
        let mut consumer = stream.create_consumer(config).await.expect("the stream takes one more consumer");
        let counted = Arc::new(Counted::default());
        let sum = Arc::clone(&counted);
        let looking = tokio::spawn(async move {
            loop {
                if let Ok(Ok(info)) = tokio::time::timeout(ANSWER_TIME_MAX, consumer.info()).await {
                    sum.results.store(info.num_pending, Ordering::Relaxed);
                    sum.looks().push((Instant::now(), info.num_pending));
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self(Arc::new(Counting { counted, looking: looking.abort_handle() }))
    }

    /// Tasks that have ended.
    pub(crate) fn results(&self) -> u64 {
        self.0.counted.results.load(Ordering::Relaxed)
    }

    /// Results a second, in the time before `end`.
    pub(crate) fn rate_before(&self, end: Instant) -> f64 {
        let looks = self.0.counted.looks();
        let begin = end.checked_sub(BEFORE).unwrap_or(end);
        let within: Vec<_> = looks.iter().filter(|(at, _)| (begin..=end).contains(at)).collect();
        match (within.first(), within.last()) {
            (Some((begin, first)), Some((end, last))) if end > begin => {
                last.saturating_sub(*first) as f64 / (*end - *begin).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// How long after `fault` it was until a second began that was as good as `rate`, after the first that was not; no
    /// time at all, where every second was. Nothing, as long as that cannot be told.
    pub(crate) fn recovered_after(&self, fault: Instant, rate: f64) -> Option<Duration> {
        let looks = self.0.counted.looks();
        let count_at = |time: Instant| looks.iter().rev().find(|(at, _)| *at <= time).map(|(_, count)| *count);
        let last = looks.last()?.0;
        let good = |begin: Instant| {
            let gained = count_at(begin + WINDOW).unwrap_or(0).saturating_sub(count_at(begin).unwrap_or(0));
            gained as f64 >= FULL_SPEED * rate
        };
        // By the clock and not by the looks: while the broker does not answer there are none, and nothing ends.
        let mut begins = (0..).map(|turn| fault + LOOK * turn).take_while(|begin| *begin + WINDOW <= last);
        let slowed = begins.by_ref().take_while(|begin| *begin <= fault + FELT_WITHIN).any(|begin| !good(begin));
        if slowed {
            return begins.find(|begin| good(*begin)).map(|begin| begin - fault);
        }
        (last > fault + FELT_WITHIN + WINDOW).then_some(Duration::ZERO)
    }
}

impl Counted {
    fn looks(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, u64)>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
