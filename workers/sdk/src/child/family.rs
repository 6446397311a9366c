//! Which children a run of a task has, as one attempt knows them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use workfleet_proto::id::{ChildKey, QueueName, TaskId};
use workfleet_proto::limits::CHILDREN_MAX;
use workfleet_proto::v1::{Parent, parent};

use super::code;
use crate::error::TaskError;

/// The parent, and what it has asked for so far.
#[derive(Debug)]
pub(crate) struct Family {
    id: TaskId,
    run: u32,
    /// The parent's, which its children inherit.
    deadline_ms: Option<i64>,
    /// Children of this attempt without a name.
    ordinals: AtomicU32,
    /// Every child of this run that earlier attempts told of, or that this one has asked for.
    asked: Mutex<HashSet<TaskId>>,
}

impl Family {
    /// `earlier` are the children that earlier attempts of this run told of.
    pub(crate) fn new(id: TaskId, run: u32, deadline_ms: Option<i64>, earlier: &[TaskId]) -> Self {
        let asked = Mutex::new(earlier.iter().cloned().collect());
        Self { id, run, deadline_ms, ordinals: AtomicU32::new(0), asked }
    }

    pub(super) fn next_ordinal(&self) -> u32 {
        self.ordinals.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn id(&self, queue: &QueueName, key: &ChildKey, ordering_key: Option<&str>) -> TaskId {
        TaskId::child(queue, &self.id, self.run, key, ordering_key)
    }

    /// `exists`: it is known that the child was accepted.
    pub(super) fn parent(&self, key: ChildKey, exists: bool) -> Parent {
        let key = match key {
            ChildKey::Ordinal(ordinal) => parent::Key::Ordinal(ordinal),
            ChildKey::Name(name) => parent::Key::Name(name),
        };
        Parent { id: self.id.to_string(), run: self.run, key: Some(key), deadline_ms: self.deadline_ms, exists }
    }

    /// Makes room for one more; a child that is there already needs none.
    pub(crate) fn admit(&self, child: &TaskId) -> Result<(), TaskError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.contains(child) {
            return Ok(());
        }
        if asked.len() >= CHILDREN_MAX {
            let message = format!(
                "a run of a task may have {CHILDREN_MAX} children at most; submit fewer tasks that each do more, or let \
                 children submit children"
            );
            return Err(TaskError::permanent(code::TOO_MANY_CHILDREN, message));
        }
        asked.insert(child.clone());
        Ok(())
    }
}

/// The children that a message tells of, without what is no id and beyond what a run may have: other publishers write
/// messages too.
pub(crate) fn told(children: &[String]) -> Vec<TaskId> {
    let mut told: Vec<TaskId> = Vec::new();
    for child in children.iter().filter_map(|child| child.parse().ok()) {
        if told.len() == CHILDREN_MAX {
            break;
        }
        if !told.contains(&child) {
            told.push(child);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{Family, told};
    use workfleet_proto::id::{ChildKey, QueueName, TaskId};
    use workfleet_proto::limits::CHILDREN_MAX;

    const PARENT: &str = "mail_01h455vb4pex5vsknk084sn02q";

    fn queue() -> QueueName {
        "webhook".parse().expect("a name")
    }

    fn family(run: u32, earlier: &[TaskId]) -> Family {
        Family::new(PARENT.parse().expect("an id"), run, None, earlier)
    }

    fn child(family: &Family) -> TaskId {
        family.id(&queue(), &ChildKey::Ordinal(family.next_ordinal()), None)
    }

    #[test]
    fn every_attempt_of_a_run_counts_its_children_from_one() {
        let (first, second, redriven) = (family(1, &[]), family(1, &[]), family(2, &[]));
        let ids: Vec<TaskId> = (0..3).map(|_| child(&first)).collect();
        assert_eq!(ids, (0..3).map(|_| child(&second)).collect::<Vec<_>>());
        assert!(
            (0..3).map(|_| child(&redriven)).all(|id| !ids.contains(&id)),
            "a redriven run has children of its own"
        );
    }

    #[test]
    fn a_run_has_room_for_so_many_children_and_for_those_it_has_always() {
        let first = family(1, &[]);
        let ids: Vec<TaskId> = (0..CHILDREN_MAX).map(|_| child(&first)).collect();
        assert!(ids.iter().all(|id| first.admit(id).is_ok()));
        let refused = first.admit(&child(&first)).expect_err("one too many");
        assert!(refused.is_permanent() && refused.code() == "too_many_children", "{refused}");
        let second = family(1, &ids);
        assert!(ids.iter().all(|id| second.admit(id).is_ok()), "an earlier attempt has submitted them");
        assert!(second.admit(&first.id(&queue(), &ChildKey::Name("one more".to_owned()), None)).is_err());
    }

    #[test]
    fn what_a_message_tells_of_children_is_bounded() {
        let mut children: Vec<String> = (0..200).map(|_| child(&family(1, &[])).to_string()).collect();
        children.push("x".repeat(1_000_000));
        assert_eq!(told(&children).len(), 1, "no doubles and nothing that is no id");
        let first = family(1, &[]);
        let many: Vec<String> = (0..500).map(|_| child(&first).to_string()).collect();
        assert_eq!(told(&many).len(), CHILDREN_MAX);
    }
}
