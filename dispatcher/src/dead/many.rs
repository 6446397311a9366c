//! Many letters in one call: these, or those that a filter finds, a page at a time.
//!
//! A call looks at a page and no more, so that it ends while its caller waits; who wants them all comes again with
//! `next`. Letters are done beside each other and each by itself: what happens to one says nothing of the others, and the
//! same call can be made again whatever came of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::StreamExt as _;
use workfleet_proto::id::TaskId;

use super::filter::DeadFilter;
use super::plan::RedriveChanges;
use super::redrive::{Done, refuse};
use super::view::DeadManyView;
use crate::dispatcher::{Dispatcher, Inner};
use crate::error::{ApiError, Code, unavailable};
use crate::going_on::going_on;
use crate::kinds::Queue;
use crate::limits::{DEAD_AT_ONCE, DEAD_MANY_MAX, DEAD_MANY_TIME_MAX, DEAD_PROBLEMS_MAX};
use crate::operations::{self, Action, Caller, Operation};

/// Many dead letters of a queue.
#[derive(Debug, Clone)]
pub struct DeadMany {
    /// The queue's name.
    pub queue: String,
    /// Which.
    pub letters: Letters,
    /// For people: in the operators' log; may be empty.
    pub reason: String,
}

/// Which letters.
#[derive(Debug, Clone)]
pub enum Letters {
    /// Those of these tasks, 1,000 at most.
    Of(Vec<String>),
    /// Those that the filter finds; without any condition, all.
    Found(DeadFilter),
}

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Redrive,
    Drop,
}

/// What came of one.
enum Came {
    Done,
    Gone,
}

impl Dispatcher {
    /// Redrives many.
    ///
    /// # Errors
    /// When there is no such queue, or the question cannot be understood. What could not be done is in the answer.
    pub async fn redrive_many(&self, many: &DeadMany, caller: Caller) -> Result<DeadManyView, ApiError> {
        self.many(many, Act::Redrive, caller).await
    }

    /// Drops many.
    ///
    /// # Errors
    /// As [`redrive_many`](Self::redrive_many).
    pub async fn drop_dead_many(&self, many: &DeadMany, caller: Caller) -> Result<DeadManyView, ApiError> {
        self.many(many, Act::Drop, caller).await
    }

    async fn many(&self, many: &DeadMany, act: Act, caller: Caller) -> Result<DeadManyView, ApiError> {
        let (dispatcher, many) = (self.clone(), many.clone());
        going_on(async move { dispatcher.each_of(&many, act, caller).await }).await
    }

    async fn each_of(&self, many: &DeadMany, act: Act, caller: Caller) -> Result<DeadManyView, ApiError> {
        let (inner, reason) = (self.inner(), operations::reason(&many.reason)?);
        let _turn = inner.list_turn()?;
        let queue = inner.connected()?.kinds.queue(&many.queue).await?;
        let (ids, next) = inner.letters_of(&queue, &many.letters).await?;
        let (view, ids) = Box::pin(inner.each(&queue, ids, act)).await;
        let view = DeadManyView { next, ..view };
        if view.done > 0 {
            let action = match act {
                Act::Redrive => Action::RedriveMany,
                Act::Drop => Action::DropMany,
            };
            let filter = match &many.letters {
                Letters::Of(_) => String::new(),
                Letters::Found(filter) => filter.words(),
            };
            let (queue, count) = (queue.name.clone(), u64::from(view.done));
            inner.operations.note(Operation { action, queue, task: None, filter, ids, count, caller, reason });
        }
        Ok(view)
    }
}

impl Inner {
    async fn letters_of(&self, queue: &Queue, letters: &Letters) -> Result<(Vec<TaskId>, Option<String>), ApiError> {
        match letters {
            Letters::Of(ids) => Ok((checked(queue, ids)?, None)),
            Letters::Found(filter) => {
                let page = self.page_of_letters(queue, &filter.read(DEAD_MANY_MAX)?).await?;
                let ids = page.letters.into_iter().map(|letter| letter.id).collect();
                Ok((ids, page.next.map(|place| place.to_string())))
            }
        }
    }

    /// Also gives the ids of those that it was done to.
    async fn each(&self, queue: &Queue, ids: Vec<TaskId>, act: Act) -> (DeadManyView, Vec<TaskId>) {
        let (until, is_full) = (Instant::now() + DEAD_MANY_TIME_MAX, AtomicBool::new(false));
        let is_full = &is_full;
        let came = futures::stream::iter(ids).map(|id| async move {
            let came = if Instant::now() >= until {
                Err(unavailable("there was no time left for it; ask again".to_owned()))
            } else if is_full.load(Ordering::Relaxed) {
                Err(refuse::full(queue, &id))
            } else {
                self.one(queue, &id, act).await
            };
            if came.as_ref().is_err_and(|error| error.code == Code::QueueFull) {
                is_full.store(true, Ordering::Relaxed);
            }
            (came.map_err(|error| error.task_id(&id)), id)
        });
        let mut came = std::pin::pin!(came.buffer_unordered(DEAD_AT_ONCE));
        let (mut view, mut done) = (DeadManyView::default(), Vec::new());
        while let Some((one, id)) = came.next().await {
            match one {
                Ok(Came::Done) => {
                    view.done += 1;
                    done.push(id);
                }
                Ok(Came::Gone) => view.gone += 1,
                Err(error) if view.problems.len() < DEAD_PROBLEMS_MAX => view.problems.push(error.problem()),
                Err(_) => {}
            }
        }
        (view, done)
    }

    async fn one(&self, queue: &Queue, id: &TaskId, act: Act) -> Result<Came, ApiError> {
        match act {
            Act::Redrive => Ok(match self.redrive(queue, id, &RedriveChanges::default()).await? {
                Done::Redriven(_) => Came::Done,
                Done::Before | Done::Gone | Done::OtherRun(_) => Came::Gone,
            }),
            Act::Drop => Ok(if self.drop_letter(queue, id).await? { Came::Done } else { Came::Gone }),
        }
    }
}

/// The ids of tasks of this queue and no other: whoever asks may operate this one.
fn checked(queue: &Queue, ids: &[String]) -> Result<Vec<TaskId>, ApiError> {
    let wrong = |detail: String| ApiError::invalid_option("ids", detail);
    if ids.len() > DEAD_MANY_MAX {
        return Err(wrong(format!("{} ids; one call takes {DEAD_MANY_MAX}", ids.len())));
    }
    let read = |id: &String| {
        let shown: String = id.chars().take(100).collect();
        let task = id.parse::<TaskId>().map_err(|error| wrong(format!("{shown:?}: {error}")))?;
        if task.queue() == queue.name {
            Ok(task)
        } else {
            Err(wrong(format!("{shown:?} is of another queue than {}", queue.name)))
        }
    };
    ids.iter().map(read).collect()
}
