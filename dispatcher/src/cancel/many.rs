//! Many tasks of a queue, by their ids or as a filter finds them.
//!
//! One call ends as many as a page of a list has, and says where to go on: so it costs a bounded number of reads and
//! writes, and a caller who leaves has not started what nobody can stop. Tasks that move while somebody pages may be
//! missed, as in any list; whoever wants all of them begins anew until nothing is found.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use workfleet_link::time::now_ms;
use workfleet_proto::id::{IdError, QueueName, TaskId};
use workfleet_proto::settlement::Halted;
use workfleet_proto::v1::State;

use super::{RECORDED, UNKNOWN, halting, if_unavailable, recorded_ms, too_many};
use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::halt::{Halting, Outcome, Telling};
use crate::kinds::Queue;
use crate::limits::{CANCEL_MANY_CONCURRENT_MAX, CANCEL_MANY_MAX, CANCEL_MANY_TIME_MAX, CANCEL_PROBLEMS_MAX};
use crate::list::ListTasks;
use crate::operations::{self, Action, Caller, Operation};

/// Which tasks of a queue are to end: these, or those that the filter finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelMany {
    /// The queue's name.
    pub queue: String,
    /// Their ids, at most 1,000; where there are any, there is no filter.
    pub ids: Vec<String>,
    /// Only tasks that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only tasks in this state, which is no end.
    pub state: Option<State>,
    /// Most tasks that this call looks at, 1 to 1,000; `None`: 1,000.
    pub limit: Option<u32>,
    /// `next` of the call before; `None`: from the beginning.
    pub cursor: Option<String>,
    /// For people; may be empty.
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct CancelledMany {
    /// Tasks that are cancelled now, those that were so before included.
    pub cancelled: u32,
    /// Tasks that had ended in another way.
    pub ended: u32,
    /// Tasks that nobody knows.
    pub unknown: u32,
    /// How many of the queue's workers have not confirmed within a second.
    pub workers_unanswered: u32,
    /// Tasks that could not be cancelled now; the first 100.
    pub problems: Vec<ApiError>,
    /// Where to go on; `None`: all have been seen.
    pub next: Option<String>,
}

/// Cancels them.
pub(super) async fn cancel(inner: &Inner, many: CancelMany, caller: Caller) -> Result<CancelledMany, ApiError> {
    let halting = halting(&many.reason, Telling::Later)?;
    many.check()?;
    let queue = inner.connected()?.kinds.queue(&many.queue).await?;
    let (ids, next) = wanted(inner, &queue, &many).await?;
    let mut done = CancelledMany { next, ..CancelledMany::default() };
    let HaltedAll { halted, new: ids, is_held } = halt_all(inner, &queue, ids, &halting, &mut done).await;
    if !ids.is_empty() {
        let (action, count) = (Action::CancelMany, ids.len() as u64);
        let (queue, filter, reason) = (queue.name.clone(), many.filter(), halting.reason.clone());
        inner.operations.note(Operation { action, queue, task: None, filter, ids, count, caller, reason });
    }
    if halted.is_empty() {
        return Ok(done);
    }
    done.workers_unanswered = inner.tell(&queue, &halted, &halting, is_held).await?;
    Ok(done)
}

impl CancelMany {
    /// For the operators' log; empty where ids are named.
    fn filter(&self) -> String {
        if !self.ids.is_empty() {
            return String::new();
        }
        operations::words(&[("state", self.state.map(|state| state.word().to_owned()))], &self.labels)
    }

    fn has_filter(&self) -> bool {
        self.has_condition() || self.limit.is_some() || self.cursor.is_some()
    }

    fn has_condition(&self) -> bool {
        !self.labels.is_empty() || self.state.is_some()
    }

    fn check(&self) -> Result<(), ApiError> {
        let wrong = |field: &str, detail: String| Err(ApiError::invalid_option(field, detail));
        match (self.ids.is_empty(), self.has_filter()) {
            (false, true) => return wrong("filter", "name ids, or a filter, not both".to_owned()),
            (true, _) if !self.has_condition() => {
                return wrong("filter", "name ids, or a filter with a label or a state".to_owned());
            }
            _ => {}
        }
        if self.ids.len() > CANCEL_MANY_MAX {
            return wrong("ids", format!("{} ids are too many; one call takes {CANCEL_MANY_MAX}", self.ids.len()));
        }
        if let Some(state) = self.state.filter(|state| state.is_end()) {
            return wrong("state", format!("what is {} has ended", state.word()));
        }
        Ok(())
    }
}

/// The tasks that are meant, each once, and where to go on.
async fn wanted(inner: &Inner, queue: &Queue, many: &CancelMany) -> Result<(Vec<TaskId>, Option<String>), ApiError> {
    if !many.ids.is_empty() {
        return Ok((ids(&queue.name, &many.ids)?, None));
    }
    let _turn = inner.lists.try_acquire().map_err(|_| too_many("too many lists of tasks at once"))?;
    let limit = many.limit.unwrap_or_else(|| u32::try_from(CANCEL_MANY_MAX).unwrap_or(u32::MAX));
    let list = ListTasks {
        queue: queue.name.to_string(),
        state: many.state,
        labels: many.labels.clone(),
        limit: Some(limit),
        cursor: many.cursor.clone(),
    };
    let page = inner.open_tasks(&list).await?;
    let ids: BTreeSet<String> = page.tasks.into_iter().filter(|task| !task.is_end()).map(|task| task.id).collect();
    Ok((ids.iter().filter_map(|id| id.parse().ok()).collect(), page.next))
}

/// All of one queue: the caller may do this in that queue.
fn ids(queue: &QueueName, texts: &[String]) -> Result<Vec<TaskId>, ApiError> {
    let read = |text: &String| {
        let id = text.parse::<TaskId>().map_err(|error: IdError| ApiError::invalid_option("ids", error.to_string()))?;
        if id.queue() == *queue {
            return Ok(id);
        }
        Err(ApiError::invalid_option("ids", format!("{id} is no task of the queue {queue}")))
    };
    let each_once: BTreeSet<&String> = texts.iter().collect();
    each_once.into_iter().map(read).collect()
}

/// What came of one of them.
struct One {
    id: TaskId,
    outcome: Result<Outcome, ApiError>,
    /// Where a step broke off behind the record of its end: whether this call has recorded it.
    broken_off: Option<bool>,
}

async fn halt_one(inner: &Inner, queue: &Queue, id: TaskId, halting: &Halting, until: Instant) -> One {
    if Instant::now() >= until {
        let detail = "the time of one call is over; cancel it again".to_owned();
        return One { outcome: Err(unavailable(detail).task_id(&id)), id, broken_off: None };
    }
    let began_ms = now_ms();
    match inner.halt(queue, &id, halting).await {
        Ok(outcome) => One { id, outcome: Ok(outcome), broken_off: None },
        Err(error) => {
            let recorded_ms = recorded_ms(inner, queue, &id).await;
            let known = if recorded_ms.is_some() { RECORDED } else { UNKNOWN };
            let outcome = Err(if_unavailable(error, known, &id).task_id(&id));
            One { id, outcome, broken_off: recorded_ms.map(|at_ms| at_ms >= began_ms) }
        }
    }
}

/// Those that are cancelled.
#[derive(Default)]
struct HaltedAll {
    /// Of these the workers are to be told.
    halted: Vec<TaskId>,
    /// Those of them that were not cancelled before.
    new: Vec<TaskId>,
    /// Whether a handler held one of them.
    is_held: bool,
}

/// Ends them, a bounded number at once. A task that is recorded and may wait still is a problem, to be cancelled again: but the
/// repeat finds it cancelled, so it is told and noted now or never.
async fn halt_all(
    inner: &Inner,
    queue: &Queue,
    ids: Vec<TaskId>,
    halting: &Halting,
    done: &mut CancelledMany,
) -> HaltedAll {
    let until = Instant::now() + CANCEL_MANY_TIME_MAX;
    let halts = ids.into_iter().map(|id| halt_one(inner, queue, id, halting, until));
    let mut halts = stream::iter(halts).buffer_unordered(CANCEL_MANY_CONCURRENT_MAX);
    let mut all = HaltedAll::default();
    while let Some(One { id, outcome, broken_off }) = halts.next().await {
        let is_new = match outcome {
            Ok(Outcome { halted: Halted::Halted, is_new, is_held, .. }) => {
                done.cancelled += 1;
                all.is_held |= is_held;
                Some(is_new)
            }
            Ok(Outcome { halted: Halted::Ended(_), .. }) => {
                done.ended += 1;
                None
            }
            Ok(Outcome { halted: Halted::Unknown | Halted::Marked, .. }) => {
                done.unknown += 1;
                None
            }
            Err(error) => {
                if done.problems.len() < CANCEL_PROBLEMS_MAX {
                    done.problems.push(error);
                }
                broken_off
            }
        };
        if let Some(is_new) = is_new {
            all.new.extend(is_new.then(|| id.clone()));
            all.halted.push(id);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{CancelMany, State, ids};
    use crate::error::Code;

    fn field(many: &CancelMany) -> Option<String> {
        many.check().err().and_then(|error| error.field.clone())
    }

    #[test]
    fn a_call_names_ids_or_a_condition() {
        let labels = [("tier".to_owned(), "gold".to_owned())].into();
        let by_label = CancelMany { labels, ..CancelMany::default() };
        assert_eq!(field(&by_label), None);
        assert_eq!(field(&CancelMany { ids: vec!["a".to_owned()], ..CancelMany::default() }), None);
        for wrong in [
            CancelMany::default(),
            CancelMany { limit: Some(5), ..CancelMany::default() },
            CancelMany { ids: vec!["a".to_owned()], ..by_label },
        ] {
            assert_eq!(field(&wrong).as_deref(), Some("filter"), "{wrong:?}");
        }
        let ended = CancelMany { state: Some(State::Failed), ..CancelMany::default() };
        assert_eq!(field(&ended).as_deref(), Some("state"));
        let many = CancelMany { ids: vec!["a".to_owned(); 1_001], ..CancelMany::default() };
        assert_eq!(field(&many).as_deref(), Some("ids"));
    }

    #[test]
    fn ids_are_of_the_queue_that_the_caller_may_operate_and_each_counts_once() {
        let queue = "mail".parse().expect("a name");
        let own = "mail_01h455vb4pex5vsknk084sn02q".to_owned();
        assert_eq!(ids(&queue, &[own.clone(), own.clone()]).expect("its own").len(), 1);
        for wrong in ["post_01h455vb4pex5vsknk084sn02q", "mail_*", ""] {
            let error = ids(&queue, &[own.clone(), wrong.to_owned()]).expect_err(wrong);
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidOption, Some("ids")));
        }
    }
}
