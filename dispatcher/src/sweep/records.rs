//! The records of an object store, a page at a time.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use workfleet_link::batch::{self, Range};
use workfleet_link::blobs::{BlobError, BlobInfo};
use workfleet_link::broker::Broker;
use workfleet_link::read::StoredMessage;
use workfleet_proto::blob::{BlobId, Store};
use workfleet_proto::id::QueueName;

use super::SweepPace;
use crate::error::ApiError;
use crate::limits::{SWEEP_PAUSE, SWEEP_RECORDS_MAX};

/// Most bytes of a page.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The pages, in the order in which their blobs were stored.
pub(super) struct Pages<'a> {
    broker: &'a Broker,
    stream: String,
    filter: String,
    pace: SweepPace,
    /// Where the next page begins; absent: there is none.
    from: Option<u64>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(broker: &'a Broker, queue: &QueueName, store: Store, pace: SweepPace) -> Self {
        let store = broker.names.object_store(store, queue);
        let (stream, filter) = (format!("OBJ_{store}"), format!("$O.{store}.M.>"));
        Self { broker, stream, filter, pace, from: Some(1) }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<StoredMessage>>, ApiError> {
        let Some(from) = self.from else { return Ok(None) };
        if from > 1 && self.pace == SweepPace::Gentle {
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
        let filter = Some(self.filter.as_str());
        let range = Range { from, filter, messages_max: SWEEP_RECORDS_MAX, bytes_max: PAGE_BYTES_MAX };
        let page = batch::range(self.broker, &self.stream, range).await?.messages;
        self.from = page.last().map(|last| last.sequence + 1);
        Ok((!page.is_empty()).then_some(page))
    }
}

/// What a record says; nothing where it is not one of ours, or says that its blob was deleted.
///
/// # Errors
/// When it has the name of one of ours and cannot be read.
pub(super) fn info(queue: &QueueName, stored: &StoredMessage) -> Result<Option<BlobInfo>, ApiError> {
    let Some(blob) = named(queue, &stored.subject) else { return Ok(None) };
    match BlobInfo::read(&blob, stored) {
        Ok(info) => Ok(Some(info)),
        Err(BlobError::Gone { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn named(queue: &QueueName, subject: &str) -> Option<BlobId> {
    let name = BASE64_URL_SAFE.decode(subject.rsplit('.').next()?).ok()?;
    BlobId::named(queue, std::str::from_utf8(&name).ok()?).ok()
}
