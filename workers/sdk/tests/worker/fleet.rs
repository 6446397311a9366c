//! A real broker with one queue, and workers inside the test's process.

mod halt;
mod meddle;
mod stores;

use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use workfleet_link::broker::Broker;
use workfleet_link::config::Vars;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_link::time::now_ms;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::names::Lane;
use workfleet_proto::schema::SchemaHash;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{Backoff, DeadLetter, Envelope, QueueSettings, Result as Record};
use workfleet_proto::wire::{CopyHeaders, TraceMode};
use workfleet_proto::{Task as _, settings};
use workfleet_sdk::{Handler, KindWorker, RunError, Worker};

use crate::broker::{ask, connect, provision, start_nats};
use crate::carrier;

pub(crate) use stores::noise;

/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Fleet {
    nats: Child,
    folder: tempfile::TempDir,
    port: u16,
    pub(crate) broker: Broker,
    pub(crate) queue: QueueName,
    tasks: Pipeline,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.nats.kill();
        let _ = self.nats.wait();
    }
}

/// A worker of this process.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Drains it.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.expect("no panic").expect("a clean drain");
    }
}

impl Fleet {
    /// A fleet whose queue has a lease of two seconds and three attempts with short waits between them.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut QueueSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (nats, port) = start_nats(folder.path(), None).await;
        let broker = connect(port).await;
        let queue: QueueName = ThumbnailRequest::KIND.parse().expect("a name");
        let mut settings = QueueSettings {
            lease_ms: 2_000,
            attempts_max: 3,
            backoff: Some(Backoff { base_ms: 10, max_ms: 50 }),
            timeout_ms: 10_000,
            ..settings::defaults(&queue)
        };
        change(&mut settings);
        provision(&broker, &queue, &settings).await;
        carrier::start(&broker, &queue);
        let tasks = Pipeline::start(&broker);
        Self { nats, folder, port, broker, queue, tasks }
    }

    /// Kills the broker and starts it again with what it had stored.
    pub(crate) async fn restart_broker(&mut self) {
        self.nats.kill().expect("it runs");
        self.nats.wait().expect("it ends");
        self.nats = start_nats(self.folder.path(), Some(self.port)).await.0;
        eventually("the broker is back", async || self.broker.is_connected().then_some(())).await;
    }

    /// Freezes the broker, or lets it go on.
    pub(crate) fn signal_broker(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.nats.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Where the broker is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts a worker and waits until it is there.
    pub(crate) async fn worker<H: Handler<ThumbnailRequest>>(&self, slots: u32, handler: H) -> Running {
        self.worker_with(&[("WORKFLEET_SLOTS", &slots.to_string())], handler, |worker| worker).await
    }

    /// The same with the handlers on a runtime of the test's.
    pub(crate) async fn worker_on<H: Handler<ThumbnailRequest>>(
        &self,
        handlers: &tokio::runtime::Runtime,
        slots: u32,
        handler: H,
    ) -> Running {
        let worker = self.prepare(&[("WORKFLEET_SLOTS", &slots.to_string())]).handle(handler);
        self.run(handlers.handle(), worker).await
    }

    pub(crate) async fn worker_with<H: Handler<ThumbnailRequest>>(
        &self,
        vars: &[(&str, &str)],
        handler: H,
        change: impl FnOnce(KindWorker) -> KindWorker,
    ) -> Running {
        let worker = change(self.prepare(vars).handle(handler));
        self.run(&tokio::runtime::Handle::current(), worker).await
    }

    fn prepare(&self, vars: &[(&str, &str)]) -> Worker {
        let url = self.url();
        let vars = [("WORKFLEET_NATS_URL", url.as_str()), ("RUST_LOG", "off")].into_iter().chain(vars.iter().copied());
        Worker::from_vars(Vars::from_pairs(vars)).expect("variables")
    }

    /// Starts a worker and does not wait.
    pub(crate) fn launch<H: Handler<ThumbnailRequest>>(&self, slots: u32, handler: H) -> Running {
        let worker = self.prepare(&[("WORKFLEET_SLOTS", &slots.to_string())]).handle(handler);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(worker.run_until(async move { drop(stopped.await) }));
        Running { stop, running }
    }

    async fn run(&self, handlers: &tokio::runtime::Handle, worker: KindWorker) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let before = self.waiting_pulls().await;
        let running = handlers.spawn(worker.run_until(async move { drop(stopped.await) }));
        eventually("the worker pulls", async || (self.waiting_pulls().await > before).then_some(())).await;
        Running { stop, running }
    }

    pub(crate) async fn waiting_pulls(&self) -> u64 {
        let mut waiting = 0;
        for lane in ["h", "m", "l"] {
            let info = self.ask(&format!("CONSUMER.INFO.TASKS_{}.WORK_{lane}", self.queue), &Value::Null).await;
            waiting += info["num_waiting"].as_u64().unwrap_or(0);
        }
        waiting
    }

    pub(crate) async fn ask(&self, api: &str, body: &Value) -> Value {
        ask(&self.broker, api, body).await
    }

    /// Submits a task as a dispatcher does.
    pub(crate) async fn submit(&self, task: ThumbnailRequest) -> TaskId {
        self.submit_to("m", task).await
    }

    pub(crate) async fn submit_to(&self, lane: &str, task: ThumbnailRequest) -> TaskId {
        let envelope = Envelope { payload: task.encode_to_vec().into(), ..self.envelope() };
        self.publish(lane, self.headers(), envelope).await
    }

    pub(crate) fn envelope(&self) -> Envelope {
        Envelope {
            schema: SchemaHash::of(ThumbnailRequest::DESCRIPTORS).as_str().to_owned(),
            submitted_at_ms: now_ms(),
            attempts_max: 3,
            backoff: Some(Backoff { base_ms: 10, max_ms: 50 }),
            timeout_ms: 10_000,
            ..Default::default()
        }
    }

    pub(crate) fn headers(&self) -> CopyHeaders {
        CopyHeaders {
            generation: Generation::FIRST,
            result_sequence: 0,
            check: false,
            schema: SchemaHash::of(ThumbnailRequest::DESCRIPTORS).as_str().to_owned(),
            schema_backs: 0,
            due_ms: now_ms(),
            trace: TraceMode::Child,
        }
    }

    pub(crate) async fn publish(&self, lane: &str, copy: CopyHeaders, envelope: Envelope) -> TaskId {
        let id = self.new_id();
        let envelope = Envelope { id: id.to_string(), ..envelope };
        let mut headers = HeaderMap::new();
        for (name, value) in copy.pairs() {
            headers.insert(name, value);
        }
        self.publish_raw(&id, lane, headers, envelope.encode_to_vec().into()).await;
        id
    }

    pub(crate) fn new_id(&self) -> TaskId {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&COUNT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        TaskId::new(&self.queue, u64::try_from(now_ms()).expect("after 1970"), random, None)
    }

    pub(crate) async fn publish_raw(&self, id: &TaskId, lane: &str, headers: HeaderMap, payload: Bytes) {
        let lane: Lane = lane.parse().expect("a lane");
        let message = Publish { headers, ..Publish::new(self.broker.names.task(id, lane), payload) };
        self.tasks.publish(message).await.expect("the queue has room");
    }

    /// The task's end.
    pub(crate) async fn ended(&self, id: &TaskId) -> Record {
        let stream = self.broker.names.results_stream(&self.queue);
        let subject = self.broker.names.result(id);
        let stored = eventually("the task ends", async || {
            read::last_on_subject(&self.broker, &stream, &subject).await.expect("an answer")
        });
        Record::decode(stored.await.payload).expect("a result")
    }

    pub(crate) async fn dead(&self, id: &TaskId) -> Option<DeadLetter> {
        let subject = self.broker.names.dead(id);
        let stored = read::last_on_subject(&self.broker, &self.broker.names.dead_stream(&id.queue()), &subject)
            .await
            .expect("an answer");
        stored.map(|stored| DeadLetter::decode(stored.payload).expect("a dead letter"))
    }

    /// Waits until the queue holds nothing any more.
    pub(crate) async fn emptied(&self) {
        eventually("the queue is empty", async || (self.held().await == 0).then_some(())).await;
    }

    /// How many messages the queue holds, running ones included.
    pub(crate) async fn held(&self) -> u64 {
        let info = self.ask(&format!("STREAM.INFO.TASKS_{}", self.queue), &Value::Null).await;
        info["state"]["messages"].as_u64().expect("a count")
    }
}

/// Waits for a condition.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < WAIT_MAX, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
