//! What tests ask of a fleet.

use std::path::{Path, PathBuf};

use async_nats::jetstream;
use prost::Message as _;
use serde_json::Value;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::Names;
use workfleet_proto::v1;
use workfleet_proto::v1::dispatcher_client::DispatcherClient;

use super::Fleet;
use crate::cluster::Broker;
use crate::http::Answer;
use crate::probe::Probe;
use crate::runs::{self, Run};
use crate::sse::Events;
use crate::wait::eventually;
use crate::worker::Worker;

impl<B: Broker> Fleet<B> {
    /// Submits a probe and gives its id.
    pub async fn submit(&self, probe: &Probe) -> String {
        self.submit_with("", probe).await
    }

    /// The same with options, as in `?delay=2s`.
    pub async fn submit_with(&self, options: &str, probe: &Probe) -> String {
        let path = format!("/v1/queues/probe/tasks{options}");
        let answer = self.http.post(&path).json(&self.logged(probe)).send().await.expect(202);
        answer.json()["id"].as_str().expect("a task has an id").to_owned()
    }

    /// Calls a probe worker directly.
    pub async fn call(&self, options: &str, probe: &Probe) -> Answer {
        self.http.post(&format!("/v1/queues/probe/calls{options}")).json(&self.logged(probe)).send().await
    }

    /// The probe's JSON, with the fleet's file of runs in it.
    #[must_use]
    pub fn logged(&self, probe: &Probe) -> Value {
        probe.clone().logs_to(&self.runs_file()).json()
    }

    /// The task as the dispatcher sees it now.
    pub async fn task(&self, id: &str) -> Value {
        self.http.get(&format!("/v1/tasks/{id}")).send().await.expect(200).json()
    }

    /// The same, or nothing while the broker is away and the dispatcher says so.
    async fn seen(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(&format!("/v1/tasks/{id}")).send().await;
        if answer.status == 503 { None } else { Some(answer.expect(200).json()) }
    }

    /// Waits until the task is in a state, and gives it.
    pub async fn in_state(&self, id: &str, state: &str) -> Value {
        eventually(&format!("{id} becomes {state}"), async || {
            let task = self.seen(id).await?;
            (task["state"] == state).then_some(task)
        })
        .await
    }

    /// Waits until the task has ended, and gives it.
    pub async fn ended(&self, id: &str) -> Value {
        eventually(&format!("{id} ends"), async || {
            let task = self.seen(id).await?;
            let ends = ["completed", "failed", "cancelled", "expired"];
            ends.contains(&task["state"].as_str()?).then_some(task)
        })
        .await
    }

    /// Waits until the task has completed, and gives it.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn completed(&self, id: &str) -> Value {
        let task = self.ended(id).await;
        assert_eq!(task["state"], "completed", "{task:#}");
        task
    }

    /// Waits until the task has failed, and gives it.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn failed(&self, id: &str) -> Value {
        let task = self.ended(id).await;
        assert_eq!(task["state"], "failed", "{task:#}");
        task
    }

    /// Every execution of a probe so far.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        runs::read(&self.runs_file())
    }

    /// Those of one task.
    #[must_use]
    pub fn runs_of(&self, id: &str) -> Vec<Run> {
        self.runs().into_iter().filter(|run| run.task == id).collect()
    }

    /// Waits until a handler has begun to work on the task, and gives that run.
    pub async fn started(&self, id: &str) -> Run {
        eventually(&format!("a handler starts on {id}"), async || self.runs_of(id).pop()).await
    }

    /// The worker of a run.
    ///
    /// # Panics
    /// When it is none of this fleet's.
    #[must_use]
    pub fn worker_of(&mut self, run: &Run) -> &mut Worker {
        self.workers.iter_mut().find(|worker| worker.pid() == run.pid).expect("the run was in a worker of this fleet")
    }

    /// The events of a task; `cursor` is the last one that was seen.
    pub async fn events(&self, id: &str, cursor: Option<&str>) -> Events {
        let request = self.http.get(&format!("/v1/tasks/{id}/events"));
        let request = match cursor {
            Some(cursor) => request.header("last-event-id", cursor),
            None => request,
        };
        Events::open(request).await
    }

    /// The gRPC edge.
    ///
    /// # Panics
    /// When the dispatcher does not accept a connection.
    pub async fn grpc(&self) -> DispatcherClient<Channel> {
        let mut channel = Channel::from_shared(self.grpc_url()).expect("an address");
        if let Some(authority) = &self.plan.authority {
            let ca = std::fs::read(authority.ca_file()).expect("its file");
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            channel = channel.tls_config(tls).expect("its settings fit together");
        }
        let client = DispatcherClient::new(channel.connect().await.expect("the dispatcher accepts connections"));
        client.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    }

    /// Its address.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        let scheme = if self.plan.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.grpc)
    }

    /// The broker's API, past the dispatcher.
    pub async fn jetstream(&self) -> jetstream::Context {
        self.nats.jetstream().await
    }

    /// A task's dead letter, as it is stored.
    ///
    /// # Panics
    /// When the broker is down, or what is stored is no dead letter.
    pub async fn dead_letter(&self, id: &str) -> Option<v1::DeadLetter> {
        let names = Names::default();
        let task: TaskId = id.parse().expect("an id");
        let stream = self.jetstream().await.get_stream(names.dead_stream(&task.queue())).await.expect("its stream");
        let message = stream.get_last_raw_message_by_subject(&names.dead(&task)).await.ok()?;
        Some(v1::DeadLetter::decode(message.payload).expect("a dead letter"))
    }

    /// A folder that goes with the fleet.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn runs_file(&self) -> PathBuf {
        self.folder.path().join("runs")
    }
}
