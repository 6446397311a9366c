//! Dead letters of fleets from before each queue had its own stream: out of the one that all shared.
//!
//! The server lets no two streams take one subject. So the shared stream gives up the subjects of the queues that get their
//! own, which leaves what it holds where it is; then the new streams are made; then each letter is copied, on the condition
//! that its task has none there, and deleted where it was. What breaks off in between is finished by the next time: a letter
//! that was copied already meets itself, or a later one, and is only deleted.
//!
//! Between the two streams a worker finds none for a dead letter; it holds on to the task and tries again. To make the new
//! streams sources of the old one was the alternative: it needs no copying by us, and would bring letters back that were
//! redriven in the meantime, for as long as the old stream is there.

use serde_json::{Value, json};
use workfleet_link::batch::{self, Range};
use workfleet_link::broker::Broker;
use workfleet_link::pipeline::{Pipeline, Publish, PublishError};
use workfleet_link::read::{ReadError, StoredMessage};
use workfleet_proto::id::{QueueName, TaskId};

use super::api::Api;
use super::{Change, ProvisionError, held};
use crate::ask;
use crate::limits::{LIST_READ_BYTES_MAX, LIST_READ_MESSAGES_MAX};
use crate::queues_file::QueuesFile;

/// How often a letter is tried that meets a write to its subject.
const TRIES_MAX: u32 = 20;

/// The shared stream while letters are carried out of it.
pub(super) struct Shared {
    stream: String,
    /// Queues that still have their letters there, since they are not in this file.
    others: Vec<QueueName>,
}

/// Takes the subjects of the file's queues from the shared stream. `None`: there is no such stream.
///
/// # Errors
/// When the broker refuses or does not answer.
pub(super) async fn detach(api: &Api<'_>, file: &QueuesFile) -> Result<Option<Shared>, ProvisionError> {
    let stream = api.broker.names.dead_stream_shared();
    let name = format!("stream {stream}");
    let Some(mut config) = api.config(&name, &format!("STREAM.INFO.{stream}")).await? else { return Ok(None) };
    let others = others(api, file).await?;
    let mut subjects: Vec<String> = others.iter().map(|queue| api.broker.names.dead_all(queue)).collect();
    if subjects.is_empty() {
        // A stream without any would take its own name as one.
        subjects.push(parked(api.broker));
    }
    let wanted = json!(subjects);
    if config.get("subjects") != Some(&wanted) {
        config.insert("subjects".to_owned(), wanted);
        api.ask(&name, &format!("STREAM.UPDATE.{stream}"), &Value::Object(config)).await?;
    }
    Ok(Some(Shared { stream, others }))
}

/// Nobody publishes here.
fn parked(broker: &Broker) -> String {
    broker.names.dead_everywhere().replace(".dead.>", ".dead-shared")
}

/// Queues that are there, are not in the file, and have no stream of their own.
async fn others(api: &Api<'_>, file: &QueuesFile) -> Result<Vec<QueueName>, ProvisionError> {
    let known = match held::queues(api.broker).await {
        Err(ReadError::NoStream { .. }) => Vec::new(),
        known => known.map_err(|error| unanswered(api.broker, &error))?,
    };
    let mut others = Vec::new();
    for queue in known.iter().filter_map(|name| name.parse::<QueueName>().ok()) {
        if file.queues.iter().any(|entry| entry.name == queue) {
            continue;
        }
        let own = api.broker.names.dead_stream(&queue);
        if api.config(&format!("stream {own}"), &format!("STREAM.INFO.{own}")).await?.is_none() {
            others.push(queue);
        }
    }
    Ok(others)
}

impl Shared {
    /// Carries every letter of the file's queues into its queue's own stream, and removes the shared one once nobody needs
    /// it. The streams are there.
    ///
    /// # Errors
    /// When the broker refuses or does not answer; then the rest is carried the next time.
    pub(super) async fn carry(self, api: &mut Api<'_>, file: &QueuesFile) -> Result<(), ProvisionError> {
        let pipeline = Pipeline::start(api.broker);
        let (mut carried, mut from) = (0_u64, 1);
        loop {
            let range =
                Range { from, filter: None, messages_max: LIST_READ_MESSAGES_MAX, bytes_max: LIST_READ_BYTES_MAX };
            let batch = batch::range(api.broker, &self.stream, range).await;
            let messages = batch.map_err(|error| unanswered(api.broker, &error))?.messages;
            let Some(last) = messages.last() else { break };
            from = last.sequence + 1;
            for message in messages {
                if is_of(&message, file) {
                    self.carry_one(api.broker, &pipeline, message).await?;
                    carried += 1;
                }
            }
        }
        let state = ask::stream(api.broker, &self.stream).await.map_err(|error| unanswered(api.broker, &error))?;
        let name = format!("stream {}", self.stream);
        if state.messages == 0 && self.others.is_empty() {
            api.delete(&name, &format!("STREAM.DELETE.{}", self.stream)).await?;
            api.note(name, Change::Removed, format!("letters carried into streams of their own: {carried}"));
        } else if carried > 0 {
            let left = state.messages;
            api.note(name, Change::Updated, format!("letters carried: {carried}, of queues not in the file: {left}"));
        }
        Ok(())
    }

    async fn carry_one(
        &self,
        broker: &Broker,
        pipeline: &Pipeline,
        letter: StoredMessage,
    ) -> Result<(), ProvisionError> {
        let StoredMessage { subject, sequence, headers, payload, .. } = letter;
        let copy = Publish { headers, expected_sequence: Some(0), ..Publish::new(subject, payload) };
        for _ in 0..TRIES_MAX {
            match pipeline.publish(copy.clone()).await {
                // A letter that is there is this one, carried before, or a later one.
                Ok(_) | Err(PublishError::Lost) => {
                    let deleted = ask::delete_message(broker, &self.stream, sequence).await;
                    return deleted.map_err(|error| unanswered(broker, &error));
                }
                Err(PublishError::InFlight | PublishError::Unanswered) => {
                    tokio::time::sleep(crate::limits::IN_FLIGHT_PAUSE).await;
                }
                Err(error) => {
                    let name = format!("dead letter {}", copy.subject);
                    return Err(ProvisionError::Refused { name, reason: error.to_string() });
                }
            }
        }
        Err(ProvisionError::Unanswered { name: copy.subject, reason: "a dead letter cannot be stored now".to_owned() })
    }
}

/// Whether a message is a letter of one of the file's queues.
fn is_of(message: &StoredMessage, file: &QueuesFile) -> bool {
    let id = message.subject.rsplit('.').next().and_then(|id| id.parse::<TaskId>().ok());
    id.is_some_and(|id| file.queues.iter().any(|entry| entry.name == id.queue()))
}

fn unanswered(broker: &Broker, error: &ReadError) -> ProvisionError {
    let name = format!("stream {}", broker.names.dead_stream_shared());
    ProvisionError::Unanswered { name, reason: error.to_string() }
}
