//! Alerts of dead letters: what has to be there before one can be sent.

use serde_json::{Map, Value};
use workfleet_link::kinds;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::Names;

use super::api::Api;
use super::{Change, ProvisionError};
use crate::queues_file::{QueueEntry, QueuesFile};

/// The contract of the only kind that alerts are written for.
const WEBHOOK: &str = "workfleet.kinds.webhook.v1.Webhook";

/// Refuses an alert that nobody could ever send.
///
/// # Errors
/// When the queue that it names is not there, or is of another kind, or the broker does not answer.
pub(super) async fn check(api: &Api<'_>, file: &QueuesFile) -> Result<(), ProvisionError> {
    for entry in &file.queues {
        let Some(alert) = &entry.settings.dead_alert else { continue };
        let wrong = |reason: String| ProvisionError::Alert { queue: entry.name.to_string(), reason };
        let target: QueueName = alert.queue.parse().map_err(|error| wrong(format!("queue: {error}")))?;
        match service(api, file, &target).await? {
            Some(service) if service == WEBHOOK => {}
            Some(service) => return Err(wrong(format!("{target} is of the kind {service}, and not a webhook"))),
            None => return Err(wrong(format!("there is no queue {target} with a kind"))),
        }
    }
    Ok(())
}

/// The contract of a queue: as the file has it, or as somebody registered it.
async fn service(api: &Api<'_>, file: &QueuesFile, queue: &QueueName) -> Result<Option<String>, ProvisionError> {
    let entry = file.queues.iter().find(|entry| entry.name == *queue);
    if let Some(kind) = entry.and_then(|entry| entry.kind.as_ref()) {
        return Ok(Some(kind.service.clone()));
    }
    let record = kinds::record(api.broker, queue).await;
    let record = record.map_err(|source| ProvisionError::Kind { name: queue.to_string(), source })?;
    Ok(record.map(|record| record.service))
}

/// Whether a consumer is that of an alert.
pub(super) fn is_alert(names: &Names, consumer: &Map<String, Value>) -> bool {
    consumer.get("durable_name").and_then(Value::as_str) == Some(names.alert_consumer())
}

/// Removes the consumer of an alert that is not wanted any more. One that is wanted is made with its stream.
///
/// # Errors
/// When the broker refuses or does not answer.
pub(super) async fn remove_unwanted(api: &mut Api<'_>, queue: &QueueEntry) -> Result<(), ProvisionError> {
    if queue.settings.dead_alert.is_some() {
        return Ok(());
    }
    let (stream, consumer) = (api.broker.names.dead_stream(&queue.name), api.broker.names.alert_consumer());
    let name = format!("consumer {stream}/{consumer}");
    if api.config(&name, &format!("CONSUMER.INFO.{stream}.{consumer}")).await?.is_some() {
        api.delete(&name, &format!("CONSUMER.DELETE.{stream}.{consumer}")).await?;
        api.note(name, Change::Removed, String::new());
    }
    Ok(())
}
