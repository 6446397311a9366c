//! Puts records into a queue's streams, as dispatchers and workers would leave them.

use async_nats::jetstream::message::PublishMessage;
use prost::Message as _;
use workfleet_link::broker::Broker;
use workfleet_link::pipeline::Publish;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::{Lane, header};
use workfleet_proto::v1::{DeadLetter, Envelope, Event, Result as Record, State};

/// Messages that are sent before the first of them is waited for.
const SENT_MAX: usize = 256;

/// Fills the queue `thumbnail`.
pub(crate) struct Fill {
    broker: Broker,
}

/// A task of the queue, the same for the same number.
pub(crate) fn id(number: u64) -> TaskId {
    let queue: QueueName = "thumbnail".parse().expect("a name");
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    TaskId::new(&queue, 1_700_000_000_000 + number, random, None)
}

/// A record of an end.
pub(crate) fn record(number: u64, state: State) -> Record {
    Record {
        id: id(number).to_string(),
        state: state.into(),
        run: 1,
        attempt: 1,
        attempts_max: 3,
        submitted_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_001_000,
        labels: labels(number),
        ..Record::default()
    }
}

fn labels(number: u64) -> std::collections::HashMap<String, String> {
    [("tenth".to_owned(), (number / 10).to_string())].into()
}

impl Fill {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone() }
    }

    /// Stores messages in their order. A pipeline may have one overtake another, and lists show the order of the stream.
    async fn store(&self, messages: impl IntoIterator<Item = Publish>) {
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let mut sent = Vec::new();
            for Publish { subject, headers, payload, .. } in messages.by_ref().take(SENT_MAX) {
                let message = PublishMessage::build().payload(payload).headers(headers);
                sent.push(self.broker.jetstream.send_publish(subject, message).await.expect("sent"));
            }
            for stored in sent {
                stored.await.expect("stored");
            }
        }
    }

    fn copy(&self, subject: String, number: u64) -> Publish {
        let envelope = Envelope {
            id: id(number).to_string(),
            payload: vec![7; 100].into(),
            submitted_at_ms: now_ms(),
            attempts_max: 3,
            labels: labels(number),
            ..Envelope::default()
        };
        let mut message = Publish::new(subject, envelope.encode_to_vec().into());
        for name in [header::RUN, header::ATTEMPT] {
            message.headers.insert(name, "1");
        }
        message
    }

    /// Tasks that wait.
    pub(crate) async fn queued(&self, numbers: impl IntoIterator<Item = u64>) {
        let names = &self.broker.names;
        let copies = numbers.into_iter().map(|n| self.copy(names.task(&id(n), Lane::DEFAULT), n));
        self.store(copies).await;
    }

    /// Tasks whose time has not come.
    pub(crate) async fn scheduled(&self, numbers: impl IntoIterator<Item = u64>) {
        let names = &self.broker.names;
        let copies = numbers.into_iter().map(|n| {
            let mut copy = self.copy(names.delay_at(&id(n)), n);
            copy.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(now_ms() + 3_600_000)));
            copy.headers.insert(header::SCHEDULE_TARGET, names.delay_due(&id(n), Lane::DEFAULT));
            copy
        });
        self.store(copies).await;
    }

    /// Retries whose time has not come.
    pub(crate) async fn retrying(&self, numbers: impl IntoIterator<Item = u64>) {
        let names = &self.broker.names;
        let copies = numbers.into_iter().map(|n| {
            let mut copy = self.copy(names.delay_at(&id(n)), n);
            copy.headers.insert(header::ATTEMPT, "2");
            copy.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(now_ms() + 3_600_000)));
            copy.headers.insert(header::SCHEDULE_TARGET, names.delay_due(&id(n), Lane::DEFAULT));
            copy
        });
        self.store(copies).await;
    }

    /// What a worker says about tasks that it runs.
    pub(crate) async fn runs(&self, numbers: impl IntoIterator<Item = u64>) {
        let events = numbers.into_iter().map(|n| {
            let event = Event {
                id: id(n).to_string(),
                state: State::Running.into(),
                run: 1,
                attempt: 1,
                sequence: 1,
                at_ms: now_ms(),
                started_at_ms: now_ms(),
                ..Event::default()
            };
            Publish::new(self.broker.names.event(&id(n)), event.encode_to_vec().into())
        });
        self.store(events).await;
    }

    /// Records of ends.
    pub(crate) async fn ended(&self, records: impl IntoIterator<Item = Record>) {
        let results = records.into_iter().map(|record| {
            let id: TaskId = record.id.parse().expect("an id");
            Publish::new(self.broker.names.result(&id), record.encode_to_vec().into())
        });
        self.store(results).await;
    }

    /// Keys, which lie among the results.
    pub(crate) async fn keys(&self, numbers: impl IntoIterator<Item = u64>) {
        let names = &self.broker.names;
        self.store(numbers.into_iter().map(|n| Publish::new(names.key(&id(n)), vec![1].into()))).await;
    }

    /// Dead letters.
    pub(crate) async fn dead(&self, numbers: impl IntoIterator<Item = u64>) {
        self.dead_with(numbers, 0).await;
    }

    /// Dead letters of tasks with payloads of so many bytes.
    pub(crate) async fn dead_with(&self, numbers: impl IntoIterator<Item = u64>, payload_bytes: usize) {
        let letters = numbers.into_iter().map(|n| {
            let envelope = Envelope { payload: vec![7; payload_bytes].into(), ..Envelope::default() };
            let result = Some(record(n, State::Failed));
            let letter = DeadLetter { result, envelope: Some(envelope), ..DeadLetter::default() };
            Publish::new(self.broker.names.dead(&id(n)), letter.encode_to_vec().into())
        });
        self.store(letters).await;
    }
}
