//! Runs a handler on a bench.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use workfleet_proto::Task;
use workfleet_proto::id::{QueueName, TaskId};

use super::bench::{Bench, Kind};
use super::desk::{Desk, Laid, lock};
use super::ran::{Ended, Ran};
use crate::context::{Context, Facts, Given, Origin};
use crate::handler::Handler;
use crate::handling::CLEAN_UP_TIME_MAX;
use crate::reach::Reach;

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
        match lock(&self.shelf).blobs.get(&id.parse().ok()?)? {
            Laid::Whole(bytes) | Laid::Damaged(bytes) => Some(bytes.clone()),
        }
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
