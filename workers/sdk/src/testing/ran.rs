//! What a handler did on a bench.

use std::fmt;

use bytes::Bytes;
use workfleet_proto::Task;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{Progress, SubmitOptions};

use super::desk::{Done, Kept};
use crate::error::TaskError;

/// How an attempt on a bench ended, and what it did meanwhile. [`Bench::run`](super::Bench::run) has an example.
#[derive(Debug)]
pub struct Ran<O> {
    /// How it ended.
    pub ended: Ended<O>,
    /// Everything that it said about its progress. In a fleet only the latest of many is sent.
    pub progress: Vec<Progress>,
    /// The blobs that it stored, in this order: their ids and bytes.
    pub blobs: Vec<(String, Bytes)>,
    children: Vec<Kept>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended<O> {
    /// With an output.
    Completed(O),
    /// The handler failed.
    Failed(TaskError),
    /// It took longer than its timeout. In a fleet that is a retryable failure.
    TimedOut,
    /// It was told to stop and did not complete. In a fleet the task is handed back, and no attempt is spent.
    HandedBack,
}

/// A child that an attempt submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted<T> {
    /// Its id.
    pub id: TaskId,
    /// Its name among its parent's children.
    pub name: Option<String>,
    /// What it is to do. Where an earlier attempt had submitted it, that attempt's.
    pub task: T,
    /// What else was asked for.
    pub options: SubmitOptions,
}

impl<O> Ran<O> {
    pub(super) fn new(ended: Ended<O>, done: Done) -> Self {
        Self { ended, progress: done.progress, blobs: done.blobs, children: done.children }
    }

    /// The output.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn output(&self) -> &O
    where
        O: fmt::Debug,
    {
        match &self.ended {
            Ended::Completed(output) => output,
            other => panic!("the attempt has no output: {other:?}"),
        }
    }

    /// The handler's failure.
    ///
    /// # Panics
    /// When it did not fail.
    #[track_caller]
    pub fn failure(&self) -> &TaskError
    where
        O: fmt::Debug,
    {
        match &self.ended {
            Ended::Failed(error) => error,
            other => panic!("the handler did not fail: {other:?}"),
        }
    }

    /// The children of one kind that this attempt submitted, in the order in which they were taken.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
    /// use workfleet_proto::kinds::webhook::WebhookRequest;
    /// use workfleet_sdk::{Context, TaskError, testing::Bench};
    ///
    /// async fn tell(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    ///     ctx.child(WebhookRequest { url: "https://a.example".to_owned(), ..Default::default() }).named("tell").submit().await?;
    ///     Ok(ThumbnailReply::default())
    /// }
    /// let ran = Bench::new().run(&tell, ThumbnailRequest::default()).await;
    /// let children = ran.children::<WebhookRequest>();
    /// assert_eq!((children.len(), children[0].task.url.as_str()), (1, "https://a.example"));
    /// assert_eq!(children[0].name.as_deref(), Some("tell"));
    /// # });
    /// ```
    #[must_use]
    pub fn children<T: Task>(&self) -> Vec<Submitted<T>> {
        self.children.iter().filter(|child| child.submit.queue == T::KIND).filter_map(read).collect()
    }
}

fn read<T: Task>(child: &Kept) -> Option<Submitted<T>> {
    let Some(Payload::Protobuf(payload)) = &child.submit.payload else { return None };
    let task = T::decode(payload.clone()).ok()?;
    let options = child.submit.options.clone().unwrap_or_default();
    Some(Submitted { id: child.id.clone(), name: child.name.clone(), task, options })
}
