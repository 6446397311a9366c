//! Whose child a task is, and whether it may be (rule 20).
//!
//! A parent is named by workers alone, in submits from within the fleet. That the parent runs is not looked up: it would
//! be a read for each child, and whoever may publish there may publish tasks too. Which queues may have which children
//! is looked up, since it is what keeps a handler's mistake from filling any queue of the fleet.

use workfleet_proto::id::{ChildKey, IdError, QueueName, TaskId};
use workfleet_proto::limits::{CHILD_NAME_BYTES_MAX, CHILDREN_MAX};
use workfleet_proto::v1;
use workfleet_proto::v1::parent::Key;

use super::bounded_text;
use crate::error::{ApiError, Code};

/// The task whose handler submits, and which of its children this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) id: TaskId,
    pub(crate) run: u32,
    pub(crate) key: ChildKey,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) earlier: Earlier,
}

/// What a submit knows of its task already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// Nothing: it may be the first.
    #[default]
    Unknown,
    /// It was accepted. It is looked for and never stored: the fleet may have forgotten it since.
    Accepted,
}

impl TryFrom<v1::Parent> for Parent {
    type Error = ApiError;

    fn try_from(parent: v1::Parent) -> Result<Self, ApiError> {
        let id = parent.id.parse();
        let id = id.map_err(|error: IdError| ApiError::invalid_option("parent.id", error.to_string()))?;
        if parent.run == 0 {
            return Err(ApiError::invalid_option("parent.run", "runs are counted from 1"));
        }
        let earlier = if parent.exists { Earlier::Accepted } else { Earlier::Unknown };
        Ok(Self { id, run: parent.run, key: key(parent.key)?, deadline_ms: parent.deadline_ms, earlier })
    }
}

impl Parent {
    /// Whether the settings of the parent's queue let it have a child in `queue`.
    ///
    /// # Errors
    /// `forbidden`, naming the setting.
    pub(crate) fn check_may_submit_to(&self, queue: &QueueName, settings: &v1::QueueSettings) -> Result<(), ApiError> {
        if settings.children.iter().any(|allowed| allowed == queue.as_str()) {
            return Ok(());
        }
        let detail = format!(
            "handlers of the queue {0} may not submit tasks to {queue}: add it to `children` of [queue.{0}] in the \
             queues file",
            self.id.queue_str()
        );
        Err(ApiError::new(Code::Forbidden, detail).field("parent").known(settings.children.clone()))
    }
}

fn key(key: Option<Key>) -> Result<ChildKey, ApiError> {
    match key {
        Some(Key::Ordinal(ordinal)) if ordinal == 0 || ordinal as usize > CHILDREN_MAX => {
            let detail = format!("the ordinal is {ordinal}, but must be from 1 to {CHILDREN_MAX}");
            Err(ApiError::invalid_option("parent.ordinal", detail))
        }
        Some(Key::Ordinal(ordinal)) => Ok(ChildKey::Ordinal(ordinal)),
        Some(Key::Name(name)) => {
            bounded_text("parent.name", Some(&name), CHILD_NAME_BYTES_MAX)?;
            Ok(ChildKey::Name(name))
        }
        None => Err(ApiError::invalid_option("parent", "the parent has neither `ordinal` nor `name`")),
    }
}

#[cfg(test)]
mod tests {
    use super::{ChildKey, Key, Parent};
    use crate::error::Code;
    use workfleet_proto::{settings, v1};

    fn parent(key: Option<Key>) -> v1::Parent {
        v1::Parent { id: "mail_01h455vb4pex5vsknk084sn02q".to_owned(), run: 1, key, ..v1::Parent::default() }
    }

    #[test]
    fn a_parent_is_a_task_a_run_and_a_place_among_its_children() {
        let read = |key| Parent::try_from(parent(Some(key))).expect("a parent").key;
        assert_eq!(read(Key::Ordinal(1)), ChildKey::Ordinal(1));
        assert_eq!(read(Key::Ordinal(100)), ChildKey::Ordinal(100));
        assert_eq!(read(Key::Name("receipt".to_owned())), ChildKey::Name("receipt".to_owned()));
    }

    #[test]
    fn what_is_no_parent_is_refused_and_the_field_is_named() {
        let first = Some(Key::Ordinal(1));
        for (wrong, field) in [
            (v1::Parent { id: "mail".to_owned(), ..parent(first.clone()) }, "parent.id"),
            (v1::Parent { id: String::new(), ..parent(first.clone()) }, "parent.id"),
            (v1::Parent { run: 0, ..parent(first) }, "parent.run"),
            (parent(Some(Key::Ordinal(0))), "parent.ordinal"),
            (parent(Some(Key::Ordinal(101))), "parent.ordinal"),
            (parent(Some(Key::Ordinal(u32::MAX))), "parent.ordinal"),
            (parent(Some(Key::Name(String::new()))), "parent.name"),
            (parent(Some(Key::Name("n".repeat(129)))), "parent.name"),
            (parent(None), "parent"),
        ] {
            let error = Parent::try_from(wrong).expect_err("no parent");
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidOption, Some(field)));
        }
    }

    #[test]
    fn only_queues_in_the_parents_settings_may_have_its_children() {
        let parent = Parent::try_from(parent(Some(Key::Ordinal(1)))).expect("a parent");
        let child = "webhook".parse().expect("a name");
        let mut settings = settings::defaults(&"mail".parse().expect("a name"));
        let error = parent.check_may_submit_to(&child, &settings).expect_err("not listed");
        assert_eq!(error.code, Code::Forbidden);
        assert!(error.detail.contains("`children` of [queue.mail]"), "{}", error.detail);
        settings.children = vec!["webhook".to_owned()];
        parent.check_may_submit_to(&child, &settings).expect("listed");
    }
}
