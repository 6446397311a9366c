//! The operators' log, read: newest first, a page at a time.
//!
//! The stream is only ever read forwards, so it is taken in windows of sequences, the last one first, as lists of ended
//! tasks are. Filters are looked at here and not by the server: the stream is small, and its records are of all queues.

use serde::{Deserialize, Serialize};
use workfleet_link::batch::{self, BATCH_MESSAGES_MAX, Range};
use workfleet_link::read::StoredMessage;
use workfleet_proto::v1;

use super::Action;
use crate::dispatcher::Dispatcher;
use crate::error::ApiError;
use crate::limits::{LIST_READ_BYTES_MAX, LIST_READS_MAX, LIST_TASKS_DEFAULT};
use crate::list::asked::{self, Asked};
use crate::view::UnixMs;

/// A question for a page of the operators' log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOperations {
    /// Only those in this queue; `None`: in any.
    pub queue: Option<String>,
    /// Only those with this word; `None`: any.
    pub action: Option<String>,
    /// Most entries of the page, 1 to 1,000; `None`: 50.
    pub limit: Option<u32>,
    /// `next` of the page before; `None`: the first page.
    pub cursor: Option<String>,
}

/// A page of the operators' log, newest first. It may be short, or empty, and have a next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationList {
    /// What operators did.
    pub operations: Vec<OperationView>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<String>,
}

/// What an operator did, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// When.
    pub at: UnixMs,
    /// What: a word of [`Action`].
    pub action: String,
    /// In which queue, which may be gone.
    pub queue: String,
    /// To which task, where it was one.
    pub task_id: Option<String>,
    /// How many it came to.
    pub count: u64,
    /// Who asked for it.
    pub who: String,
    /// From where.
    pub from: String,
    /// Why; may be empty.
    pub reason: String,
}

/// The same, as it is stored.
#[derive(Debug, Deserialize)]
struct Stored {
    at_ms: i64,
    action: String,
    queue: String,
    #[serde(default)]
    task_id: Option<String>,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    who: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    reason: String,
}

impl ListOperations {
    /// What a query may name.
    pub const NAMES: [&'static str; 4] = ["queue", "action", "limit", "cursor"];

    /// Reads names and values, as a query has them.
    ///
    /// # Errors
    /// When a name is unknown or comes twice, or a value cannot be read.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ApiError> {
        let mut list = Self::default();
        let Asked { limit, cursor, .. } = asked::read(pairs, &Self::NAMES, |name, value| match name {
            "queue" => Ok(Some(list.queue.replace(value.to_owned()).is_some())),
            "action" => Ok(Some(list.action.replace(value.to_owned()).is_some())),
            _ => Ok(None),
        })?;
        Ok(Self { limit, cursor, ..list })
    }

    fn check_action(&self) -> Result<(), ApiError> {
        let Some(action) = &self.action else { return Ok(()) };
        if Action::ALL.iter().any(|known| known.word() == action) {
            return Ok(());
        }
        let known = Action::ALL.map(|action| action.word().to_owned()).to_vec();
        Err(ApiError::invalid_option("action", "there is no such action").known(known))
    }

    /// The sequence before which the page begins.
    fn end(&self) -> Result<Option<u64>, ApiError> {
        let wrong = |_| ApiError::invalid_option("cursor", "the cursor was given by no list of operations");
        self.cursor.as_deref().map(|cursor| cursor.parse().map_err(wrong)).transpose()
    }

    fn takes(&self, view: &OperationView) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.queue, &view.queue) && is(&self.action, &view.action)
    }
}

impl Dispatcher {
    /// A page of what operators did, newest first, in the queues that `may_see` names.
    ///
    /// # Errors
    /// When the question cannot be understood, or the broker does not answer.
    pub async fn operations(
        &self,
        list: &ListOperations,
        may_see: impl Fn(&str) -> bool + Send,
    ) -> Result<OperationList, ApiError> {
        let (limit, end) = (asked::limit(list.limit, LIST_TASKS_DEFAULT)?, list.end()?);
        list.check_action()?;
        let inner = self.inner().connected()?;
        let stream = inner.broker.names.operations_stream();
        let (first, beyond) = inner.bounds(&stream).await?;
        let mut end = end.unwrap_or(beyond).min(beyond);
        let (mut operations, mut width) = (Vec::new(), BATCH_MESSAGES_MAX as u64);
        for _ in 0..LIST_READS_MAX {
            if end <= first {
                break;
            }
            let from = end.saturating_sub(width).max(first);
            let messages_max = usize::try_from(end - from).unwrap_or(BATCH_MESSAGES_MAX);
            let range = Range { from, filter: None, messages_max, bytes_max: LIST_READ_BYTES_MAX };
            let batch = batch::range(&inner.broker, &stream, range).await?;
            // Large records end an answer before the window does.
            let is_whole = batch.pending == 0 || batch.messages.last().is_some_and(|last| last.sequence + 1 >= end);
            if !is_whole {
                width = (width / 2).max(1);
                continue;
            }
            for message in batch.messages.iter().rev().filter(|message| message.sequence < end) {
                if let Some(view) = view(message).filter(|view| list.takes(view) && may_see(&view.queue)) {
                    operations.push(view);
                    if operations.len() == limit {
                        let next = Some(message.sequence).filter(|next| *next > first);
                        return Ok(OperationList { operations, next: next.map(|next| next.to_string()) });
                    }
                }
            }
            end = from;
        }
        Ok(OperationList { operations, next: (end > first).then(|| end.to_string()) })
    }
}

/// What cannot be read was not written by us.
fn view(message: &StoredMessage) -> Option<OperationView> {
    let Stored { at_ms, action, queue, task_id, count, who, from, reason } =
        serde_json::from_slice(&message.payload).ok()?;
    Some(OperationView { at: UnixMs(at_ms), action, queue, task_id, count, who, from, reason })
}

impl From<OperationView> for v1::OperationView {
    fn from(view: OperationView) -> Self {
        let OperationView { at, action, queue, task_id, count, who, from, reason } = view;
        Self { at: Some(at.into()), action, queue, task_id, count, who, from, reason }
    }
}

impl From<OperationList> for v1::ListOperationsReply {
    fn from(list: OperationList) -> Self {
        Self { operations: list.operations.into_iter().map(Into::into).collect(), next: list.next }
    }
}

impl From<v1::ListOperationsRequest> for ListOperations {
    fn from(request: v1::ListOperationsRequest) -> Self {
        let v1::ListOperationsRequest { queue, action, limit, cursor } = request;
        Self { queue, action, limit, cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::{ListOperations, asked};

    #[test]
    fn a_question_that_cannot_be_understood_is_refused_by_its_field() {
        let read = |pairs: &[(&str, &str)]| {
            let list = ListOperations::from_pairs(pairs.iter().copied())?;
            list.check_action().and(asked::limit(list.limit, 50).map(|_| ())).and(list.end().map(|_| list))
        };
        assert!(read(&[("queue", "mail"), ("action", "purge"), ("limit", "1000"), ("cursor", "5")]).is_ok());
        for (name, value) in [("action", "burn"), ("limit", "0"), ("limit", "x"), ("cursor", "q1"), ("color", "red")] {
            assert_eq!(read(&[(name, value)]).expect_err(value).field.as_deref(), Some(name));
        }
        assert!(read(&[("queue", "a"), ("queue", "b")]).is_err());
    }
}
