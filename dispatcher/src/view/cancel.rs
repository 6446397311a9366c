//! What came of a cancel, as callers see it.

use serde::Serialize;
use workfleet_proto::v1;

use super::TaskView;
use crate::cancel::{Cancelled, CancelledMany};
use crate::error::Problem;

/// The task, and how many workers have not confirmed.
#[derive(Debug, Serialize)]
pub(crate) struct CancelledView {
    #[serde(flatten)]
    task: TaskView,
    workers_unanswered: u32,
}

impl From<Cancelled> for CancelledView {
    fn from(cancelled: Cancelled) -> Self {
        Self { task: cancelled.task, workers_unanswered: cancelled.workers_unanswered }
    }
}

impl From<CancelledView> for v1::CancelReply {
    fn from(view: CancelledView) -> Self {
        Self { task: Some(view.task.into()), workers_unanswered: view.workers_unanswered }
    }
}

/// The same of many tasks, without the tasks.
#[derive(Debug, Serialize)]
pub(crate) struct CancelledManyView {
    cancelled: u32,
    ended: u32,
    unknown: u32,
    workers_unanswered: u32,
    problems: Vec<Problem>,
    next: Option<String>,
    #[serde(skip)]
    told: Vec<v1::Problem>,
}

impl From<CancelledMany> for CancelledManyView {
    fn from(many: CancelledMany) -> Self {
        Self {
            cancelled: many.cancelled,
            ended: many.ended,
            unknown: many.unknown,
            workers_unanswered: many.workers_unanswered,
            problems: many.problems.iter().map(crate::error::ApiError::problem).collect(),
            told: many.problems.iter().map(v1::Problem::from).collect(),
            next: many.next,
        }
    }
}

impl From<CancelledManyView> for v1::CancelManyReply {
    fn from(view: CancelledManyView) -> Self {
        Self {
            cancelled: view.cancelled,
            ended: view.ended,
            unknown: view.unknown,
            workers_unanswered: view.workers_unanswered,
            problems: view.told,
            next: view.next,
        }
    }
}
