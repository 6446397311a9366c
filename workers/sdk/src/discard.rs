//! Deletes blobs that nobody needs any more, beside the slots.
//!
//! Nothing waits for it but a drain, and nothing fails with it: what is left is found by the dispatchers' sweep. So its
//! number is bounded, and a store that does not answer costs no slot.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use workfleet_link::blobs;
use workfleet_link::broker::Broker;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::Blob;

use crate::metrics::Metrics;

/// Blobs that are being deleted at once. Beyond, they are left to the sweep.
const DELETES_MAX: usize = 64;

/// Deletes blobs.
#[derive(Debug)]
pub(crate) struct Discarder {
    broker: Broker,
    room: Arc<Semaphore>,
    underway: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Discarder {
    /// What it deletes is counted in `underway`, which a drain waits for.
    pub(crate) fn new(broker: &Broker, underway: &TaskTracker, metrics: &Arc<Metrics>) -> Self {
        let room = Arc::new(Semaphore::new(DELETES_MAX));
        Self { broker: broker.clone(), room, underway: underway.clone(), metrics: Arc::clone(metrics) }
    }

    /// Deletes a blob that nothing names any more, in a while.
    pub(crate) fn discard(&self, blob: BlobId) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.left(&blob, "too many are being deleted");
        };
        let (broker, metrics) = (self.broker.clone(), Arc::clone(&self.metrics));
        self.underway.spawn(async move {
            let _permit = permit;
            if let Err(error) = blobs::delete(&broker, &blob).await {
                metrics.blob_failed("not_deleted");
                tracing::debug!(%blob, %error, "a blob is left to the sweep");
            }
        });
    }

    /// The same by its claim check.
    pub(crate) fn discard_named(&self, queue: &QueueName, claim: &Blob) {
        if let Ok(blob) = BlobId::named(queue, &claim.name) {
            self.discard(blob);
        }
    }

    fn left(&self, blob: &BlobId, reason: &str) {
        self.metrics.blob_failed("not_deleted");
        tracing::debug!(%blob, reason, "a blob is left to the sweep");
    }
}
