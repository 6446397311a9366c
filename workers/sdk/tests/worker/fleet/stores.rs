//! The object stores of the queue, as tests fill them and look into them.

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};
use workfleet_link::blobs;
use workfleet_link::pipeline::Publish;
use workfleet_proto::blob::{BlobId, Store};
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::v1::{Blob, Envelope};

use super::Fleet;

/// Bytes that no compression makes fewer.
pub(crate) fn noise(bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    rand::fill(&mut noise[..]);
    noise.into()
}

impl Fleet {
    /// Stores a payload as a dispatcher does, and gives its claim check.
    pub(crate) async fn check_in(&self, id: &TaskId, payload: Bytes) -> (BlobId, Blob) {
        let blob = BlobId::input(id, rand::random());
        let info = blobs::put_bytes(&self.broker, &blob, payload).await.expect("the store has room");
        (blob, Blob::from(&info))
    }

    /// Submits a task whose payload is a blob.
    pub(crate) async fn submit_large(&self, task: &ThumbnailRequest) -> (TaskId, BlobId) {
        let id = self.new_id();
        let (blob, claim) = self.check_in(&id, task.encode_to_vec().into()).await;
        self.submit_claim(&id, claim).await;
        (id, blob)
    }

    /// Submits a task with this claim check.
    pub(crate) async fn submit_claim(&self, id: &TaskId, claim: Blob) {
        self.submit_as(id, Envelope { blob: Some(claim), ..self.envelope() }).await;
    }

    pub(crate) async fn submit_as(&self, id: &TaskId, envelope: Envelope) {
        let envelope = Envelope { id: id.to_string(), ..envelope };
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers().pairs() {
            headers.insert(name, value);
        }
        self.publish_raw(id, "m", headers, envelope.encode_to_vec().into()).await;
    }

    pub(crate) async fn is_kept(&self, blob: &BlobId) -> bool {
        blobs::info(&self.broker, blob).await.expect("an answer").is_some()
    }

    /// The whole of a blob.
    pub(crate) async fn fetched(&self, blob: &BlobId, claim: &Blob) -> Bytes {
        blobs::fetch(&self.broker, blob, claim).await.expect("it is there, and whole")
    }

    /// How many messages a store holds: pieces and records.
    pub(crate) async fn stored(&self, store: Store) -> u64 {
        let stream = self.object_stream(store);
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
        info["state"]["messages"].as_u64().expect("a count")
    }

    pub(crate) fn object_stream(&self, store: Store) -> String {
        format!("OBJ_{}", self.broker.names.object_store(store, &self.queue))
    }

    /// Lets nobody answer for the pieces of a store, or somebody again.
    pub(crate) async fn answer_reads(&self, store: Store, answer: bool) {
        self.change_store(store, |config| config["allow_direct"] = json!(answer)).await;
    }

    pub(crate) async fn change_store(&self, store: Store, change: impl FnOnce(&mut Value)) {
        let stream = self.object_stream(store);
        let mut config = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await["config"].clone();
        change(&mut config);
        let answer = self.ask(&format!("STREAM.UPDATE.{stream}"), &config).await;
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Takes the pieces of every blob away, and puts one of other bytes there: their records stay.
    pub(crate) async fn damage(&self, store: Store) {
        let name = self.broker.names.object_store(store, &self.queue);
        let stream = self.object_stream(store);
        let first = workfleet_link::read::by_sequence(&self.broker, &stream, 1).await.expect("an answer");
        let pieces = first.expect("the first piece").subject;
        let purge = json!({ "filter": format!("$O.{name}.C.>") });
        self.ask(&format!("STREAM.PURGE.{stream}"), &purge).await;
        self.tasks.publish(Publish::new(pieces, Bytes::from_static(b"others"))).await.expect("stored");
    }
}
