//! What tests do behind a worker's back: streams and consumers that go, copies of others, deliveries that are lost.

use std::time::Duration;

use async_nats::{HeaderMap, Subject};
use futures::StreamExt as _;
use prost::Message as _;
use serde_json::{Value, json};
use workfleet_link::broker::NatsHeaders;
use workfleet_link::pipeline::Publish;
use workfleet_link::read;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::Envelope;
use workfleet_proto::wire::CopyHeaders;

use super::Fleet;
use crate::broker::{consumer, stream};

impl Fleet {
    /// Takes the consumer of the lane `m` away, and gives what makes it anew.
    pub(crate) async fn delete_consumer(&self) -> Value {
        let (stream, names) = (self.broker.names.tasks_stream(&self.queue), &self.broker.names);
        let consumer = names.work_consumer(Lane::DEFAULT);
        let info = self.ask(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await;
        self.ask(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null).await;
        info["config"].clone()
    }

    pub(crate) async fn create_consumer(&self, config: Value) {
        consumer(&self.broker, &self.broker.names.tasks_stream(&self.queue), config).await;
    }

    /// Takes a stream away, and gives what makes it anew.
    pub(crate) async fn delete_stream(&self, name: &str) -> Value {
        let info = self.ask(&format!("STREAM.INFO.{name}"), &Value::Null).await;
        self.ask(&format!("STREAM.DELETE.{name}"), &Value::Null).await;
        info["config"].clone()
    }

    pub(crate) async fn create_stream(&self, config: Value) {
        stream(&self.broker, config).await;
    }

    /// Stores a task's next copy as a worker does, due after this time.
    pub(crate) async fn schedule(&self, id: &TaskId, copy: &CopyHeaders, delay: Duration) {
        let names = &self.broker.names;
        let mut headers = HeaderMap::new();
        for (name, value) in copy.pairs() {
            headers.insert(name, value);
        }
        let due_ms = now_ms() + i64::try_from(delay.as_millis()).expect("not for ever");
        headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(due_ms)));
        headers.insert(header::SCHEDULE_TARGET, names.delay_due(id, Lane::DEFAULT));
        let envelope = Envelope { id: id.to_string(), ..self.envelope() };
        let message = Publish { headers, ..Publish::new(names.delay_at(id), envelope.encode_to_vec().into()) };
        self.tasks.publish(message).await.expect("stored");
    }

    /// When a task's schedule fires.
    pub(crate) async fn scheduled_for(&self, id: &TaskId) -> Option<i64> {
        let stream = self.broker.names.delay_stream(&self.queue);
        let stored = read::last_on_subject(&self.broker, &stream, &self.broker.names.delay_at(id)).await;
        let copy = CopyHeaders::read(&NatsHeaders(&stored.expect("an answer")?.headers));
        Some(copy.expect("our headers").due_ms)
    }

    /// The copies of a task that are scheduled, due or queued.
    pub(crate) async fn copies(&self, id: &TaskId) -> Vec<Generation> {
        let (names, lane) = (&self.broker.names, Lane::DEFAULT);
        let (delay, tasks) = (names.delay_stream(&self.queue), names.tasks_stream(&self.queue));
        let mut copies = Vec::new();
        for (stream, subject) in
            [(&delay, names.delay_at(id)), (&delay, names.delay_due(id, lane)), (&tasks, names.task(id, lane))]
        {
            let stored = read::last_on_subject(&self.broker, stream, &subject).await.expect("an answer");
            let copy = stored.map(|stored| CopyHeaders::read(&NatsHeaders(&stored.headers)).expect("our headers"));
            copies.extend(copy.map(|copy| copy.generation));
        }
        copies
    }

    /// Takes a task as a worker would that dies at once, so many times.
    pub(crate) async fn lose(&self, times: u32) {
        for _ in 0..times {
            let taken = self.take().await;
            self.drop_taken(taken).await;
        }
    }

    /// Takes a task, and gives where its acknowledgement goes.
    pub(crate) async fn take(&self) -> Subject {
        let (client, inbox) = (&self.broker.client, self.broker.client.new_inbox());
        // Not by `request`: what comes has the task's own subject.
        let mut taken = client.subscribe(inbox.clone()).await.expect("a subscription");
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.TASKS_{}.WORK_m", self.queue);
        let ask = json!({ "batch": 1 }).to_string();
        client.publish_with_reply(subject, inbox, ask.into()).await.expect("sent");
        taken.next().await.expect("a message").reply.expect("a task")
    }

    /// Gives a task back as if whoever took it were lost.
    pub(crate) async fn drop_taken(&self, taken: Subject) {
        self.broker.client.publish(taken, "-NAK".into()).await.expect("sent");
    }
}
