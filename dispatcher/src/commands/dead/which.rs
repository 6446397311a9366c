//! Which dead letters, and what is in one.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::fault::Fault;
use super::super::remote::Client;

/// Which dead letters; all conditions together.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// Only letters whose failure has this code
    #[arg(long)]
    code: Option<String>,
    /// Only letters of tasks with this label; several: with all of them
    #[arg(long = "label", value_name = "KEY:VALUE")]
    labels: Vec<String>,
    /// Only letters that died before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Only letters that died at this time or later
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
}

impl Which {
    pub(super) fn is_all(&self) -> bool {
        self.code.is_none() && self.labels.is_empty() && self.before.is_none() && self.after.is_none()
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let texts = [("code", &self.code), ("before", &self.before), ("after", &self.after)];
        let mut query: Vec<_> = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        query.extend(self.labels.iter().map(|label| ("label", label.clone())));
        query
    }

    /// The same as the filter of a call.
    pub(super) fn filter(&self) -> Result<Value, Fault> {
        let mut labels = Map::new();
        for label in &self.labels {
            let (key, value) = label
                .split_once(':')
                .ok_or_else(|| Fault::Usage(format!("--label {label}: a label is written KEY:VALUE")))?;
            labels.insert(key.to_owned(), Value::from(value));
        }
        let texts = [("code", &self.code), ("before", &self.before), ("after", &self.after)];
        let mut filter: Map<String, Value> =
            texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))).collect();
        filter.insert("labels".to_owned(), Value::Object(labels));
        Ok(Value::Object(filter))
    }
}

/// The queue of a task's id: no queue's name has an underscore.
pub(super) fn queue_of(id: &str) -> Result<&str, Fault> {
    let queue = id.split_once('_').map(|(queue, _)| queue).filter(|queue| !queue.is_empty());
    queue.ok_or_else(|| Fault::Usage(format!("{id} is no task's id, which begins with its queue and an underscore")))
}

/// A dead letter, as the dispatcher sent it.
pub(super) async fn letter(client: &Client, id: &str) -> Result<Value, Fault> {
    client.get(&["v1", "queues", queue_of(id)?, "dead", id]).await
}

/// Its payload.
pub(super) fn payload<'a>(letter: &'a Value, id: &str) -> Result<&'a Value, Fault> {
    match (&letter["payload"], letter["payload_blob"].as_str()) {
        (Value::Null, Some(blob)) => Err(Fault::Usage(format!(
            "the payload of {id} is large: `workfleet blob get {blob}` brings it as protobuf"
        ))),
        (Value::Null, None) => Err(Fault::Usage(format!("the payload of {id} cannot be shown as JSON"))),
        (payload, _) => Ok(payload),
    }
}
