//! Where a handler is tried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use workfleet_proto::blob::BlobId;

use super::desk::{Laid, Shelf, lock};
use crate::blobs::BlobError;
use crate::error::TaskError;

/// Everything that a handler finds around it, for a test to lay out.
///
/// A bench stands for one task. What its attempts submit is kept, so that a second attempt finds it:
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
/// use workfleet_proto::kinds::webhook::WebhookRequest;
/// use workfleet_sdk::{Context, TaskError, testing::Bench};
///
/// async fn tell(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
///     ctx.submit(WebhookRequest { url: "https://a.example".to_owned(), ..Default::default() }).await?;
///     if ctx.is_last_attempt() {
///         return Ok(ThumbnailReply::default());
///     }
///     Err(TaskError::retryable("unlucky", "once more"))
/// }
///
/// let bench = Bench::new().attempt(1, 2);
/// let first = bench.run(&tell, ThumbnailRequest::default()).await;
/// assert_eq!(first.failure().code(), "unlucky");
///
/// let bench = bench.attempt(2, 2);
/// let second = bench.run(&tell, ThumbnailRequest::default()).await;
/// assert_eq!(second.children::<WebhookRequest>(), first.children::<WebhookRequest>());
/// # });
/// ```
#[derive(Debug)]
pub struct Bench {
    pub(super) random: [u8; 10],
    pub(super) attempt: u32,
    pub(super) attempts_max: u32,
    pub(super) run: u32,
    pub(super) timeout: Duration,
    pub(super) at: Option<SystemTime>,
    pub(super) submitted_at: Option<SystemTime>,
    pub(super) labels: HashMap<String, String>,
    pub(super) kind: Kind,
    pub(super) cancel_after: Option<Duration>,
    /// Stops the attempt that runs.
    pub(super) cut: Mutex<CancellationToken>,
    pub(super) shelf: Arc<Mutex<Shelf>>,
}

/// How the handler was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    Call,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// What is laid out.
impl Bench {
    /// Attempt 1 of 5, with a minute's time, now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            random: rand::random(),
            attempt: 1,
            attempts_max: 5,
            run: 1,
            timeout: Duration::from_secs(60),
            at: None,
            submitted_at: None,
            labels: HashMap::new(),
            kind: Kind::Task,
            cancel_after: None,
            cut: Mutex::default(),
            shelf: Arc::default(),
        }
    }

    /// Which attempt it is, and how many there may be.
    #[must_use]
    pub fn attempt(self, attempt: u32, attempts_max: u32) -> Self {
        Self { attempt, attempts_max, ..self }
    }

    /// Which run it is; a redriven task is in its second.
    #[must_use]
    pub fn redriven(self, run: u32) -> Self {
        Self { run, ..self }
    }

    /// A direct call instead of a task: it has one attempt, and can have no children.
    #[must_use]
    pub fn direct_call(self) -> Self {
        Self { kind: Kind::Call, attempt: 1, attempts_max: 1, ..self }
    }

    /// What time it is when an attempt begins. From there the clock goes on with tokio's, so under
    /// `#[tokio::test(start_paused = true)]` it stands still but for what the handler sleeps.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::time::{Duration, UNIX_EPOCH};
    /// let new_year = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    /// let ctx = workfleet_sdk::testing::Bench::new().at(new_year).context();
    /// assert!(ctx.now() >= new_year && ctx.now() < new_year + Duration::from_secs(1));
    /// # });
    /// ```
    #[must_use]
    pub fn at(self, time: SystemTime) -> Self {
        Self { at: Some(time), ..self }
    }

    /// When the task was submitted; the beginning of the attempt, if nothing is said.
    #[must_use]
    pub fn submitted_at(self, time: SystemTime) -> Self {
        Self { submitted_at: Some(time), ..self }
    }

    /// A pair that was given with the submit.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Tells each attempt to stop after this time, as a worker does that drains.
    #[must_use]
    pub fn cancel_after(self, time: Duration) -> Self {
        Self { cancel_after: Some(time), ..self }
    }

    /// The queues that the handler may submit to, as the setting `children` of its queue. Without it, all.
    #[must_use]
    pub fn children(self, queues: &[&str]) -> Self {
        lock(&self.shelf).permitted = Some(queues.iter().map(|queue| (*queue).to_owned()).collect());
        self
    }

    /// Lays out a blob for the handler to find.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let bench = workfleet_sdk::testing::Bench::new().blob("test_holiday.jpg", "the sea");
    /// let ctx = bench.context();
    /// assert_eq!(ctx.blob("test_holiday.jpg").await.unwrap(), "the sea");
    /// assert_eq!(ctx.blob("test_other.jpg").await.unwrap_err().code(), "blob_gone");
    /// let id = ctx.put_blob("the beach").await.unwrap();
    /// assert_eq!(bench.stored(&id).unwrap(), "the beach");
    /// # });
    /// ```
    ///
    /// # Panics
    /// When `id` is not a blob's id.
    #[must_use]
    pub fn blob(self, id: &str, bytes: impl Into<Bytes>) -> Self {
        let blob: BlobId = id.parse().unwrap_or_else(|error| panic!("{id:?}: {error}"));
        lock(&self.shelf).blobs.insert(blob, Laid::Whole(bytes.into()));
        self
    }

    /// The same, but what is read turns out not to be what was stored, once it has been read to its end.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let ctx = workfleet_sdk::testing::Bench::new().damaged_blob("test_holiday.jpg", "the s").context();
    /// assert_eq!(ctx.blob("test_holiday.jpg").await.unwrap_err().code(), "blob_damaged");
    /// # });
    /// ```
    ///
    /// # Panics
    /// When `id` is not a blob's id.
    #[must_use]
    pub fn damaged_blob(self, id: &str, bytes: impl Into<Bytes>) -> Self {
        let blob: BlobId = id.parse().unwrap_or_else(|error| panic!("{id:?}: {error}"));
        lock(&self.shelf).blobs.insert(blob, Laid::Damaged(bytes.into()));
        self
    }

    /// Lets every blob fail to be read or stored, as where the broker is away, or the store is full.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use workfleet_sdk::{BlobError, testing::Bench};
    /// let ctx = Bench::new().blobs_fail(BlobError::Full).context();
    /// assert_eq!(ctx.put_blob("the beach").await.unwrap_err().code(), "blobs_full");
    /// # });
    /// ```
    #[must_use]
    pub fn blobs_fail(self, error: BlobError) -> Self {
        lock(&self.shelf).blobs_fail = Some(error);
        self
    }

    /// Lets every submit to this queue fail.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use workfleet_proto::kinds::webhook::WebhookRequest;
    /// use workfleet_sdk::{TaskError, testing::Bench};
    /// let bench = Bench::new().submit_fails("webhook", TaskError::retryable("queue_full", "no room"));
    /// assert_eq!(bench.context().submit(WebhookRequest::default()).await.unwrap_err().code(), "queue_full");
    /// # });
    /// ```
    #[must_use]
    pub fn submit_fails(self, queue: &str, error: TaskError) -> Self {
        lock(&self.shelf).failing.insert(queue.to_owned(), error);
        self
    }
}
