//! A page while it is filled, and what it may cost.

use super::cursor::Place;
use super::wanted::Wanted;
use crate::limits::{LIST_PAGE_BYTES_MAX, LIST_READ_MESSAGES_MAX, LIST_READ_MESSAGES_MIN, LIST_READS_MAX};
use crate::view::{TaskList, TaskView};

/// The tasks of a page, and how much more of them and of reads there may be.
pub(super) struct Page {
    tasks: Vec<TaskView>,
    limit: usize,
    bytes: usize,
    reads: usize,
    /// How many messages the next read asks for.
    ask: usize,
}

impl Page {
    pub(super) fn new(wanted: &Wanted) -> Self {
        let ask = wanted.limit.clamp(LIST_READ_MESSAGES_MIN, LIST_READ_MESSAGES_MAX);
        Self { tasks: Vec::new(), limit: wanted.limit, bytes: 0, reads: 0, ask }
    }

    /// Whether nothing more goes in.
    pub(super) fn is_full(&self) -> bool {
        self.tasks.len() >= self.limit || self.bytes >= LIST_PAGE_BYTES_MAX
    }

    /// Whether it is full, or has cost what it may.
    pub(super) fn is_spent(&self) -> bool {
        self.is_full() || self.reads >= LIST_READS_MAX
    }

    /// Counts a read, and says how many messages it is to ask for. A list that leaves nothing out needs no more than
    /// what is missing; another asks for twice as many each time.
    pub(super) fn read(&mut self, wanted: &Wanted) -> usize {
        self.reads += 1;
        let missing = self.limit.saturating_sub(self.tasks.len()).max(LIST_READ_MESSAGES_MIN);
        let ask = if wanted.takes_all() { self.ask.min(missing) } else { self.ask };
        self.ask = (self.ask * 2).min(LIST_READ_MESSAGES_MAX);
        ask
    }

    /// Counts what was asked about the tasks of a read: one question belongs to it, and more are asked where large
    /// records are in the way, which cost as much as a read.
    pub(super) fn asked(&mut self, questions: usize) {
        self.reads += questions.saturating_sub(1);
    }

    /// Adds a task, whose record has about so many bytes.
    pub(super) fn push(&mut self, task: TaskView, bytes: usize) {
        self.bytes += bytes;
        self.tasks.push(task);
    }

    /// The page, and where the next one begins.
    pub(super) fn ends(self, next: Option<Place>) -> TaskList {
        TaskList { tasks: self.tasks, next: next.map(|place| place.to_string()) }
    }
}
