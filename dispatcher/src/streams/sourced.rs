//! Queues of fleets from before dispatchers carried what is due: the server moved it, as a source of `TASKS_<q>`, through a
//! consumer `SRC` of `DELAY_<q>`. Both go before the consumer `DUE` comes, for no two of a work queue may give out the same.
//!
//! Nothing is lost between: what `SRC` has not acknowledged is in `DELAY_<q>`, and a copy that was moved already is looked up
//! before it starts.

use serde_json::{Value, json};
use workfleet_proto::id::QueueName;
use workfleet_proto::names::Names;

use super::api::{Api, Config, text};
use super::{Change, ProvisionError};

/// The server's consumer.
const CONSUMER: &str = "SRC";

/// Whether a consumer is the one that dispatchers take from.
pub(super) fn takes_its_place(names: &Names, consumer: &Config) -> bool {
    text(consumer, "durable_name") == names.due_consumer()
}

/// Ends what the server moves in one queue. Dispatchers have nothing to take until the consumer comes that takes its place:
/// so right before that, and no queue sooner.
///
/// # Errors
/// When the broker refuses or does not answer.
pub(super) async fn detach(api: &mut Api<'_>, queue: &QueueName) -> Result<(), ProvisionError> {
    leave_source(api, queue).await?;
    remove_consumer(api, queue).await
}

async fn leave_source(api: &Api<'_>, queue: &QueueName) -> Result<(), ProvisionError> {
    let (tasks, delay) = (api.broker.names.tasks_stream(queue), api.broker.names.delay_stream(queue));
    let name = format!("stream {tasks}");
    let Some(mut config) = api.config(&name, &format!("STREAM.INFO.{tasks}")).await? else { return Ok(()) };
    let Some(sources) = config.get_mut("sources").and_then(Value::as_array_mut) else { return Ok(()) };
    let before = sources.len();
    // Another one is the operator's own.
    sources.retain(|source| source["name"] != json!(delay));
    if sources.len() < before {
        api.ask(&name, &format!("STREAM.UPDATE.{tasks}"), &Value::Object(config)).await?;
    }
    Ok(())
}

async fn remove_consumer(api: &mut Api<'_>, queue: &QueueName) -> Result<(), ProvisionError> {
    let delay = api.broker.names.delay_stream(queue);
    let name = format!("consumer {delay}/{CONSUMER}");
    if api.config(&name, &format!("CONSUMER.INFO.{delay}.{CONSUMER}")).await?.is_some() {
        api.delete(&name, &format!("CONSUMER.DELETE.{delay}.{CONSUMER}")).await?;
        api.note(name, Change::Removed, "dispatchers carry what is due".to_owned());
    }
    Ok(())
}
