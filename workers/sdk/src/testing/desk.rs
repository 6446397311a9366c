//! What stands in for the fleet behind the context of one attempt on a bench.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::Instant;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::settings;
use workfleet_proto::v1::{Problem, Progress, QueueSettings, SubmitRequest, parent};

use crate::blobs::{BlobError, BlobStream};
use crate::child::{self, Asked, Refusal};
use crate::error::TaskError;

/// Largest message of a broker that nobody has configured, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What one attempt has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) progress: Vec<Progress>,
    pub(super) children: Vec<Kept>,
    /// Blobs that were stored.
    pub(super) blobs: Vec<(String, Bytes)>,
}

/// A child as the stand-in for the dispatcher keeps it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) id: TaskId,
    pub(super) name: Option<String>,
    pub(super) submit: SubmitRequest,
}

/// What outlives an attempt.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Queues that may be submitted to; `None`: all.
    pub(super) permitted: Option<Vec<String>>,
    /// Why submits to a queue fail.
    pub(super) failing: HashMap<String, TaskError>,
    pub(super) children: HashMap<TaskId, Kept>,
    pub(super) blobs: HashMap<BlobId, Laid>,
    /// Why no blob can be read or stored.
    pub(super) blobs_fail: Option<BlobError>,
}

/// A blob.
#[derive(Debug, Clone)]
pub(super) enum Laid {
    Whole(Bytes),
    /// Its end tells that it is not what was stored.
    Damaged(Bytes),
}

/// The other side of a context.
#[derive(Debug)]
pub(crate) struct Desk {
    queue: QueueName,
    at: SystemTime,
    /// When the clock stood at `at`; it goes on with tokio's, which a test can pause.
    since: Instant,
    shelf: Arc<Mutex<Shelf>>,
    done: Mutex<Done>,
}

impl Desk {
    pub(super) fn new(queue: QueueName, at: SystemTime, shelf: Arc<Mutex<Shelf>>) -> Self {
        Self { queue, at, since: Instant::now(), shelf, done: Mutex::default() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.at + self.since.elapsed()
    }

    pub(crate) fn progress(&self, progress: &Progress) {
        lock(&self.done).progress.push(progress.clone());
    }

    pub(crate) fn may_submit_to(&self, queue: &QueueName) -> Result<(), TaskError> {
        match &lock(&self.shelf).permitted {
            None => Ok(()),
            Some(children) => {
                let settings =
                    QueueSettings { children: children.clone(), queue: self.queue.to_string(), ..Default::default() };
                child::permitted(&settings, queue)
            }
        }
    }

    /// Takes a child as a dispatcher does: one that is there already is given once more.
    pub(crate) fn submit(&self, asked: Asked) -> Result<TaskId, TaskError> {
        asked.fits(MESSAGE_BYTES_MAX)?;
        let mut shelf = lock(&self.shelf);
        if let Some(error) = shelf.failing.get(asked.queue.as_str()) {
            return Err(error.clone());
        }
        let Asked { id, queue, submit, .. } = asked;
        let name = match submit.parent.and_then(|parent| parent.key) {
            Some(parent::Key::Name(name)) => Some(name),
            Some(parent::Key::Ordinal(_)) | None => None,
        };
        let kept = Kept { id: id.clone(), name, submit: submit.submit.unwrap_or_default() };
        let there = shelf.children.entry(id.clone()).or_insert_with(|| kept.clone()).clone();
        if kept.name.is_none() && there.submit.payload != kept.submit.payload {
            let detail = format!("{id} was submitted with another payload");
            let problem = Problem { code: "conflict".to_owned(), detail, ..Default::default() };
            return Err(Refusal::Problem(problem).into_error(&queue));
        }
        let mut done = lock(&self.done);
        if done.children.iter().all(|child| child.id != id) {
            done.children.push(there);
        }
        Ok(id)
    }

    /// Largest blob that is read or stored as a whole.
    pub(crate) fn blob_bytes_max(&self) -> u64 {
        u64::try_from(settings::defaults(&self.queue).payload_bytes_max).unwrap_or(0)
    }

    pub(crate) fn blob(&self, blob: &BlobId) -> Result<BlobStream, BlobError> {
        let id = || blob.to_string();
        let shelf = lock(&self.shelf);
        if let Some(error) = &shelf.blobs_fail {
            return Err(error.clone());
        }
        let (bytes, end) = match shelf.blobs.get(blob).cloned() {
            None => return Err(BlobError::Gone { id: id() }),
            Some(Laid::Whole(bytes)) => (bytes, None),
            Some(Laid::Damaged(bytes)) => {
                let reason = "its SHA-256 is another".to_owned();
                (bytes, Some(Err(BlobError::Damaged { id: id(), reason })))
            }
        };
        Ok(BlobStream::new(bytes.len() as u64, futures::stream::iter([Ok(bytes)].into_iter().chain(end))))
    }

    pub(crate) fn put_blob(&self, blob: BlobId, bytes: Bytes) -> Result<(), BlobError> {
        let mut shelf = lock(&self.shelf);
        if let Some(error) = &shelf.blobs_fail {
            return Err(error.clone());
        }
        lock(&self.done).blobs.push((blob.to_string(), bytes.clone()));
        shelf.blobs.insert(blob, Laid::Whole(bytes));
        Ok(())
    }

    /// What was done at this desk so far.
    pub(super) fn take(&self) -> Done {
        std::mem::take(&mut lock(&self.done))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
