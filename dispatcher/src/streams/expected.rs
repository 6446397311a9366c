//! What provisioning would have made of the queues that there are, to be compared with what is there. It changes nothing.

use serde_json::Value;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::Names;
use workfleet_proto::v1::QueueSettings;

use super::api::{Config, FIXED, differences, text};
use super::wanted::{self, Step};

/// A stream or a consumer that should be there.
pub(crate) struct Expected {
    /// Its stream, or itself.
    pub(crate) stream: String,
    /// `None`: it is a stream.
    pub(crate) consumer: Option<String>,
    /// Whose it is; `None`: everybody's.
    pub(crate) queue: Option<QueueName>,
    config: Config,
}

/// Everything, in the order in which it is made.
pub(crate) fn expected(names: &Names, queues: &[(QueueName, QueueSettings)]) -> Vec<Expected> {
    let replicas = queues.iter().map(|(_, settings)| settings.replicas).max().unwrap_or(1);
    let shared = wanted::shared(names, replicas).into_iter().map(|config| Expected::stream(config, None));
    let of_queues = queues.iter().flat_map(|(queue, settings)| {
        wanted::queue(names, queue, settings).into_iter().map(|step| match step {
            Step::Stream(config) => Expected::stream(config, Some(queue.clone())),
            Step::Consumer { stream, config } => {
                let consumer = Some(text(&config, "durable_name"));
                Expected { stream, consumer, queue: Some(queue.clone()), config }
            }
        })
    });
    shared.chain(of_queues).collect()
}

impl Expected {
    fn stream(config: Config, queue: Option<QueueName>) -> Self {
        Self { stream: text(&config, "name"), consumer: None, queue, config }
    }

    /// The question that shows what is there, behind `$JS.API.`.
    pub(crate) fn question(&self) -> String {
        match &self.consumer {
            Some(consumer) => format!("CONSUMER.INFO.{}.{consumer}", self.stream),
            None => format!("STREAM.INFO.{}", self.stream),
        }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        match &self.consumer {
            Some(consumer) => format!("consumer {}/{consumer}", self.stream),
            None => format!("stream {}", self.stream),
        }
    }

    /// What is to be otherwise, given what the server says of it. Streams that all queues share may have more replicas
    /// than these queues need.
    pub(crate) fn differences(&self, info: &Value) -> Vec<String> {
        let empty = Config::new();
        let there = info.get("config").and_then(Value::as_object).unwrap_or(&empty);
        let mut wanted = self.config.clone();
        if self.consumer.is_some() {
            wanted.retain(|key, _| !FIXED.contains(&key.as_str()));
        }
        let replicas = |config: &Config| config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1);
        if self.queue.is_none() && replicas(there) >= replicas(&wanted) {
            wanted.remove("num_replicas");
        }
        differences(there, &wanted)
    }
}
