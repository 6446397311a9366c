//! Where a handler is tried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use workfleet_proto::Task;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};

use super::desk::{Desk, Shelf, lock};
use super::ran::{Ended, Ran};
use crate::context::{Context, Facts, Given, Origin};
use crate::error::TaskError;
use crate::handler::Handler;
use crate::handling::CLEAN_UP_TIME_MAX;
use crate::reach::Reach;

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
    random: [u8; 10],
    attempt: u32,
    attempts_max: u32,
    run: u32,
    timeout: Duration,
    at: Option<SystemTime>,
    submitted_at: Option<SystemTime>,
    labels: HashMap<String, String>,
    kind: Kind,
    cancel_after: Option<Duration>,
    /// Stops the attempt that runs.
    cut: Mutex<CancellationToken>,
    shelf: Arc<Mutex<Shelf>>,
}

/// How the handler was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
        lock(&self.shelf).blobs.insert(blob, bytes.into());
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

/// What is done.
impl Bench {
    /// Runs one attempt to its end: the handler's own, or that of its time. A panic is the test's.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
    /// use workfleet_sdk::testing::{Bench, Ended};
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn slow(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    ///     ctx.progress(10, "begun");
    ///     tokio::time::sleep(Duration::from_secs(3_600)).await;
    ///     Ok(ThumbnailReply::default())
    /// }
    /// let ran = Bench::new().timeout(Duration::from_millis(5)).run(&slow, ThumbnailRequest::default()).await;
    /// assert_eq!((ran.ended, ran.progress[0].percent), (Ended::TimedOut, 10));
    /// # });
    /// ```
    pub async fn run<T: Task, H: Handler<T>>(&self, handler: &H, task: T) -> Ran<T::Output> {
        let deadline = Instant::now() + self.timeout;
        let (cut, cancelled) = (self.next_cut(), CancellationToken::new());
        let (context, desk) = self.begin(T::KIND, &cancelled);
        let mut handling = std::pin::pin!(handler.handle(context, task));
        let ended = tokio::select! {
            biased;
            ended = &mut handling => match ended {
                Ok(output) => Ended::Completed(output),
                Err(error) => Ended::Failed(error),
            },
            () = tokio::time::sleep_until(deadline) => {
                cancelled.cancel();
                Ended::TimedOut
            }
            () = self.stopped(&cut) => {
                cancelled.cancel();
                match tokio::time::timeout(CLEAN_UP_TIME_MAX, &mut handling).await {
                    Ok(Ok(output)) => Ended::Completed(output),
                    Ok(Err(_)) | Err(_) => Ended::HandedBack,
                }
            }
        };
        Ran::new(ended, desk.take())
    }

    /// Tells the attempt that runs to stop, as a worker does that drains: the handler has a second to complete, else
    /// its task is handed back.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
    /// use workfleet_sdk::testing::{Bench, Ended};
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn polite(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    ///     ctx.cancelled().await;
    ///     Err(TaskError::retryable("stopped", "told to stop"))
    /// }
    /// let bench = Bench::new();
    /// let (ran, ()) = tokio::join!(bench.run(&polite, ThumbnailRequest::default()), async { bench.cancel() });
    /// assert_eq!(ran.ended, Ended::HandedBack);
    /// # });
    /// ```
    pub fn cancel(&self) {
        lock(&self.cut).cancel();
    }

    /// A context alone, for functions that take one. What is done with it is not told.
    #[must_use]
    pub fn context(&self) -> Context {
        self.begin("test", &self.next_cut()).0
    }

    /// A blob that was laid out, or that a handler has stored.
    #[must_use]
    pub fn stored(&self, id: &str) -> Option<Bytes> {
        lock(&self.shelf).blobs.get(&id.parse().ok()?).cloned()
    }

    fn next_cut(&self) -> CancellationToken {
        let cut = CancellationToken::new();
        lock(&self.cut).clone_from(&cut);
        cut
    }

    async fn stopped(&self, cut: &CancellationToken) {
        let time = self.cancel_after.unwrap_or(Duration::MAX);
        // However it ends, it is time.
        let _ = tokio::time::timeout(time, cut.cancelled()).await;
    }

    fn begin(&self, queue: &str, cancelled: &CancellationToken) -> (Context, Arc<Desk>) {
        let queue: QueueName = queue.parse().expect("the name of a kind is that of a queue");
        let at = self.at.unwrap_or_else(SystemTime::now);
        let desk = Arc::new(Desk::new(queue.clone(), at, Arc::clone(&self.shelf)));
        let context = Context::new(Given {
            task_id: TaskId::new(&queue, 0, self.random, None),
            attempt: self.attempt,
            attempts_max: self.attempts_max,
            deadline: (Instant::now() + self.timeout).into_std(),
            cancelled: cancelled.clone(),
            slot: Weak::new(),
            origin: match self.kind {
                Kind::Call => Origin::Call,
                Kind::Task => Origin::Task(self.facts(at)),
            },
            reach: Reach::Bench(Arc::clone(&desk)),
        });
        (context, desk)
    }

    fn facts(&self, at: SystemTime) -> Facts {
        let since = self.submitted_at.unwrap_or(at).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Facts {
            run: self.run,
            submitted_at_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            deadline_ms: None,
            labels: self.labels.clone(),
            // As after a lost worker: the second attempt knows of none, and finds them all the same.
            children: Vec::new(),
        }
    }
}
