//! Counts stores of results.
//!
//! `RESULTS_<q>` keeps one message per subject, so a second store would hide the first. The observer is a stream without
//! that limit over the subjects on which each stored result is republished.

use std::collections::BTreeMap;

use async_nats::jetstream;
use futures::TryStreamExt as _;

use crate::cluster::HEALTHY_TIME_MAX;
use crate::wait::eventually_within;

const STREAM: &str = "OBSERVED";

/// A stream of its own beside the fleet's.
#[derive(Debug)]
pub struct Observer {
    stream: jetstream::stream::Stream,
}

impl Observer {
    /// Begins to count.
    ///
    /// # Panics
    /// When the broker does not take the stream.
    pub async fn start(jetstream: &jetstream::Context) -> Self {
        Self::start_on(jetstream, 1).await
    }

    /// The same in a cluster. What is republished while this stream has no leader is not counted there.
    ///
    /// # Panics
    /// When the broker does not take the stream.
    pub async fn start_on(jetstream: &jetstream::Context, replicas: usize) -> Self {
        let config = jetstream::stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["wf.done.>".to_owned()],
            num_replicas: replicas,
            ..Default::default()
        };
        // Servers that have just become a cluster may not answer in time, on a machine where others start too. It may be there
        // already by the next time.
        let take = async || jetstream.get_or_create_stream(config.clone()).await.ok();
        let stream = eventually_within(HEALTHY_TIME_MAX, "the broker takes one more stream", take).await;
        Self { stream }
    }

    /// How often a result was stored, for each task that has one.
    ///
    /// # Panics
    /// When the broker is down.
    pub async fn stores(&self) -> BTreeMap<String, usize> {
        let subjects = self.stream.info_with_subjects("wf.done.>").await.expect("the broker answers");
        let counts: Vec<(String, usize)> = subjects.try_collect().await.expect("the broker answers");
        counts.into_iter().map(|(subject, count)| (last_token(&subject), count)).collect()
    }

    /// The same, for one task.
    pub async fn stores_of(&self, id: &str) -> usize {
        self.stores().await.get(id).copied().unwrap_or(0)
    }
}

fn last_token(subject: &str) -> String {
    subject.rsplit('.').next().unwrap_or_default().to_owned()
}
