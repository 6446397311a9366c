//! What the tests of cancels and of deadlines share: copies and records as workers and redrives leave them.

use std::time::Duration;

use async_nats::Client;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::task::JoinHandle;
use workfleet_dispatcher::operations::Caller;
use workfleet_dispatcher::{Options, TaskView};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};
use workfleet_proto::v1::{self, FleetCancel, FleetCancelReply, WorkerRecord};

use crate::place::{Place, wide};

pub(crate) const TASKS: &str = "TASKS_thumbnail";
pub(crate) const DELAY: &str = "DELAY_thumbnail";
pub(crate) const RESULTS: &str = "RESULTS_thumbnail";
pub(crate) const DEAD: &str = "DEAD_thumbnail";

pub(crate) fn caller() -> Caller {
    Caller::new("ops", "10.0.0.7")
}

pub(crate) fn id_of(task: &TaskView) -> TaskId {
    task.id.parse().expect("an id")
}

pub(crate) fn later(delay: Duration) -> Options {
    Options { delay: Some(delay), ..Options::default() }
}

pub(crate) async fn submitted(place: &Place, options: Options) -> TaskId {
    id_of(&place.dispatcher.submit(wide(1, None, options)).await.expect("accepted").task)
}

/// Stores one message.
pub(crate) async fn store(place: &Place, message: Publish) -> u64 {
    Pipeline::start(place.dispatcher.broker()).publish(message).await.expect("stored").sequence
}

/// The record of a task.
pub(crate) async fn record(place: &Place, id: &TaskId) -> Option<v1::Result> {
    let broker = place.dispatcher.broker();
    let stored = read::last_on_subject(broker, RESULTS, &broker.names.result(id)).await.expect("an answer");
    stored.map(|stored| v1::Result::decode(stored.payload).expect("a record"))
}

/// Records a state of a task's run; gives the record's sequence.
pub(crate) async fn recorded(place: &Place, id: &TaskId, state: v1::State, run: u32) -> u64 {
    let record = v1::Result { id: id.to_string(), state: state.into(), run, ..v1::Result::default() };
    store(place, Publish::new(place.dispatcher.broker().names.result(id), record.encode_to_vec().into())).await
}

/// The copy of a task that waits in its queue.
pub(crate) async fn copy(place: &Place, id: &TaskId) -> Publish {
    let broker = place.dispatcher.broker();
    let stored = read::last_on_subject(broker, TASKS, &broker.names.task(id, Lane::DEFAULT)).await;
    let stored = stored.expect("an answer").expect("a copy");
    let mut copy = Publish::new(stored.subject, stored.payload);
    for name in [header::RUN, header::ATTEMPT, header::SCHEMA, header::DUE_MS] {
        copy.headers.insert(name, stored.headers.get(name).expect("a header").clone());
    }
    copy
}

/// A worker that stands in `WORKERS`, and confirms every cancel if it listens.
pub(crate) struct FakeWorker {
    listening: Option<JoinHandle<()>>,
}

impl FakeWorker {
    pub(crate) async fn register(place: &Place, name: &str) -> Self {
        let broker = place.dispatcher.broker();
        let record = WorkerRecord { id: name.to_owned(), queue: "thumbnail".to_owned(), ..WorkerRecord::default() };
        let subject = format!("$KV.WORKERS.{}", broker.names.worker_key(&"thumbnail".parse().expect("a name"), name));
        store(place, Publish::new(subject, record.encode_to_vec().into())).await;
        Self { listening: None }
    }

    /// Answers from now on, and says of each task that it held it.
    pub(crate) async fn listen(
        &mut self,
        place: &Place,
        name: &str,
    ) -> tokio::sync::mpsc::UnboundedReceiver<FleetCancel> {
        let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
        let broker = place.dispatcher.broker().clone();
        let client: Client = async_nats::connect(&place.config("").url).await.expect("connected");
        let subject = broker.names.cancel(&"thumbnail".parse().expect("a name"));
        let mut told = client.subscribe(subject).await.expect("subscribed");
        client.flush().await.expect("sent");
        let worker = name.to_owned();
        self.listening = Some(tokio::spawn(async move {
            while let Some(message) = told.next().await {
                let cancel = FleetCancel::decode(message.payload).expect("a cancel");
                let answer = FleetCancelReply { worker: worker.clone(), held: cancel.ids.clone() };
                if let Some(reply) = message.reply {
                    client.publish(reply, answer.encode_to_vec().into()).await.expect("sent");
                }
                let _ = heard.send(cancel);
            }
        }));
        hears
    }

    /// It leaves in order: its key stays behind with a mark.
    pub(crate) async fn leave(place: &Place, name: &str) {
        let mut mark = Publish::new(format!("$KV.WORKERS.thumbnail.{name}"), Vec::new().into());
        mark.headers.insert("KV-Operation", "DEL");
        store(place, mark).await;
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}
