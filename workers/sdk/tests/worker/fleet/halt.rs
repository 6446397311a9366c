//! Plays the dispatcher that ends a task from outside.

use futures::StreamExt as _;
use prost::Message as _;
use workfleet_link::pipeline::Publish;
use workfleet_link::read;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{FleetCancel, FleetCancelReply, Result as Record, State};

use super::{Fleet, WAIT_MAX, eventually};

impl Fleet {
    /// Stores an end by compare-and-set, as a dispatcher does before it purges and tells anybody.
    pub(crate) async fn record_end(&self, id: &TaskId, state: State) {
        let record = Record {
            id: id.to_string(),
            state: state.into(),
            run: 1,
            ended_at_ms: now_ms(),
            worker: "the test".to_owned(),
            ..Record::default()
        };
        let message = Publish::new(self.broker.names.result(id), record.encode_to_vec().into());
        self.tasks.publish(Publish { expected_sequence: Some(0), ..message }).await.expect("it had no end");
    }

    /// Tells the queue's workers of cancels, and gives their answers.
    pub(crate) async fn tell(&self, ids: &[&TaskId]) -> Vec<FleetCancelReply> {
        let client = &self.broker.client;
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.expect("a subscription");
        let ids = ids.iter().map(ToString::to_string).collect();
        let cancel = FleetCancel { ids, state: State::Cancelled.into(), reason: "a test".to_owned() };
        let subject = self.broker.names.cancel(&self.queue);
        client.publish_with_reply(subject, inbox, cancel.encode_to_vec().into()).await.expect("sent");
        // No test here has more than one worker, so there is one answer, or the broker's that nobody is there.
        let reply = tokio::time::timeout(WAIT_MAX, replies.next()).await.expect("an answer").expect("a message");
        let answered = reply.status.is_none();
        answered.then(|| FleetCancelReply::decode(reply.payload).expect("an answer")).into_iter().collect()
    }

    /// Waits until a worker has its record.
    pub(crate) async fn registered(&self) {
        let names = &self.broker.names;
        let stream = format!("KV_{}", names.workers_bucket());
        let subject = format!("$KV.{}.{}", names.workers_bucket(), names.worker_key(&self.queue, "*"));
        eventually("the worker is registered", async || {
            let stored = read::last_on_subject(&self.broker, &stream, &subject).await.expect("an answer")?;
            (!stored.payload.is_empty()).then_some(())
        })
        .await;
    }
}
