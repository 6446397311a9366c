//! Dead letters: tasks that were given up, until somebody reads them and gives them another run, or drops them.
//!
//! They are in `DEAD_<queue>`, one stream for each queue, and nothing here is a second record of them. [`list`] and
//! [`read`] show them; [`redrive`] carries out what [`settlement::Redrive`](workfleet_proto::settlement::Redrive) says, step
//! by step (rule 14), with [`plan`] for what the new run is to be; [`remove`] drops one; [`many`] does either to many;
//! [`alert`] tells of each by a webhook.
//!
//! A redrive that dies leaves its letter, and the same redrive begun again goes on where it died. So a caller who heard no
//! answer asks again, and an operator who sees a letter may redrive it, whatever happened to it before.

mod alert;
mod filter;
mod letter;
mod list;
mod many;
mod plan;
mod read;
mod redrive;
mod remove;
mod view;

pub use filter::{DeadFilter, ListDead};
pub use many::{DeadMany, Letters};
pub use plan::RedriveChanges;
pub use view::{DeadList, DeadManyView, DeadView};

use tokio_util::sync::CancellationToken;
use workfleet_proto::id::TaskId;

use crate::dispatcher::Dispatcher;
use crate::error::{ApiError, Code};
use crate::going_on::going_on;
use crate::operations::{self, Action, Caller, Operation};
use crate::view::TaskView;

/// What a redrive came to, for its caller.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// The task as it is now.
    pub task: TaskView,
    /// Whether this redrive has put it into its queue. If not, an earlier one had, and it has ended since.
    pub is_accepted: bool,
}

impl Dispatcher {
    /// A page of a queue's dead letters, the latest first, without their payloads. It may be short, or empty, and have a
    /// next one.
    ///
    /// # Errors
    /// When there is no such queue, or the question cannot be understood.
    pub async fn dead_letters(&self, list: &ListDead) -> Result<DeadList, ApiError> {
        let _turn = self.inner().list_turn()?;
        self.inner().dead_letters(list).await
    }

    /// One dead letter with its payload.
    ///
    /// # Errors
    /// When there is none.
    pub async fn dead_letter(&self, id: &TaskId) -> Result<DeadView, ApiError> {
        self.inner().dead_letter(id).await
    }

    /// Puts the task of a dead letter into its queue again, as its next run.
    ///
    /// # Errors
    /// When there is no such letter, what is to change is wrong, or it cannot be done now: then the letter is still there.
    pub async fn redrive(&self, id: &TaskId, changes: &RedriveChanges, caller: Caller) -> Result<Redrive, ApiError> {
        let (dispatcher, id, changes) = (self.clone(), id.clone(), changes.clone());
        going_on(async move {
            let reason = operations::reason(&changes.reason)?;
            let redriven = dispatcher.inner().redrive_one(&id, &changes).await?;
            if redriven.is_accepted {
                dispatcher.note(Action::Redrive, &id, caller, reason);
            }
            Ok(redriven)
        })
        .await
    }

    /// Deletes a dead letter; `reason` is for people, and may be empty.
    ///
    /// # Errors
    /// When there is none, or the broker does not answer.
    pub async fn drop_dead(&self, id: &TaskId, reason: &str, caller: Caller) -> Result<(), ApiError> {
        let (dispatcher, id, reason) = (self.clone(), id.clone(), operations::reason(reason)?);
        going_on(async move {
            let queue = dispatcher.inner().queue_of_letter(&id).await?;
            if !dispatcher.inner().drop_letter(&queue, &id).await? {
                return Err(unknown_letter(&id));
            }
            dispatcher.note(Action::Drop, &id, caller, reason);
            Ok(())
        })
        .await
    }

    /// Tells of dead letters, in queues that have an alert, until `stop`. A dispatcher that serves does so by itself.
    pub async fn tell_of_dead_letters(&self, stop: CancellationToken) {
        alert::run(self.clone(), stop).await;
    }

    fn note(&self, action: Action, id: &TaskId, caller: Caller, reason: String) {
        let (queue, task, filter, ids) = (id.queue(), Some(id.clone()), String::new(), Vec::new());
        self.inner().operations.note(Operation { action, queue, task, filter, ids, count: 1, caller, reason });
    }
}

/// The refusal of an id that has no letter.
pub(crate) fn unknown_letter(id: &TaskId) -> ApiError {
    let detail = format!(
        "there is no dead letter of {id}: the task has not failed, or its letter was redriven or dropped, or is no \
                          longer kept; `workfleet get` shows where the task is"
    );
    ApiError::new(Code::UnknownDeadLetter, detail)
}
