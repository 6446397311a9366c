//! Blobs: large payloads and outputs, and what callers upload.
//!
//! A blob's id is `<queue>_<name>`, so that, as with a task's id, it alone tells where to look. The name also tells whose
//! it is: `in.<task>.<nonce>` is a payload that the dispatcher moved out of a task, `out.<task>.<nonce>` what a handler
//! left behind, and anything else was uploaded by a caller. The alternative, a record of owners, would be a second record
//! that could disagree with the tasks themselves.
//!
//! Each copy has a nonce, because two attempts may store an output for one task, or two submits a payload for one key,
//! and the one that loses must not replace what the other's claim check points at.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use crate::id::{QueueName, TaskId};
use crate::limits::BLOB_NAME_LENGTH_MAX;

const INPUT: &str = "in.";
const OUTPUT: &str = "out.";
/// Ends the name of what a handler stored itself.
const KEPT: &str = ".kept";

/// The id of a blob: `<queue>_<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId {
    queue: QueueName,
    name: String,
}

/// Which of a queue's two object stores a blob is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// `IN_<queue>`: payloads, and what callers upload.
    In,
    /// `OUT_<queue>`: what handlers leave behind.
    Out,
}

/// Whose a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A caller uploaded it.
    Caller,
    /// It is this task's payload, if the task says so.
    Input(TaskId),
    /// It is this task's output, if its result says so.
    Output(TaskId),
}

impl BlobId {
    /// A blob for the payload of `task`.
    #[must_use]
    pub fn input(task: &TaskId, random: u128) -> Self {
        Self::made(INPUT, task, random)
    }

    /// A blob for the output of `task`.
    #[must_use]
    pub fn output(task: &TaskId, random: u128) -> Self {
        Self::made(OUTPUT, task, random)
    }

    /// A blob that a handler of `task` stores itself. It lives as long as the task and its result, whereas an
    /// [`output`](Self::output) that no result names is nobody's: the two must be told apart by who sweeps.
    #[must_use]
    pub fn kept(task: &TaskId, random: u128) -> Self {
        let output = Self::output(task, random);
        Self { name: output.name + KEPT, queue: output.queue }
    }

    /// An upload whose name does not matter.
    #[must_use]
    pub fn upload(queue: &QueueName, random: u128) -> Self {
        Self { queue: queue.clone(), name: nonce(random) }
    }

    fn made(prefix: &str, task: &TaskId, random: u128) -> Self {
        let name = format!("{prefix}{}.{}", task.suffix(), nonce(random));
        Self { queue: task.queue(), name }
    }

    /// The blob of this name in a store of `queue`, as a claim check has it.
    ///
    /// # Errors
    /// When it is no name of a blob.
    pub fn named(queue: &QueueName, name: &str) -> Result<Self, BlobIdError> {
        let mut characters = name.bytes();
        let first_is_fine = characters.next().is_some_and(|first| first.is_ascii_alphanumeric());
        let rest_is_fine = characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
        let blob = Self { queue: queue.clone(), name: name.to_owned() };
        let reserved = name.starts_with(INPUT) || name.starts_with(OUTPUT);
        let whole = !reserved || blob.owner() != Owner::Caller;
        if first_is_fine && rest_is_fine && whole && name.len() <= BLOB_NAME_LENGTH_MAX {
            Ok(blob)
        } else {
            Err(BlobIdError)
        }
    }

    /// The queue that it belongs to.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Its name within that queue.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let task = |rest: &str| format!("{}_{}", self.queue, rest.split('.').next()?).parse::<TaskId>().ok();
        if let Some(task) = self.name.strip_prefix(INPUT).and_then(task) {
            return Owner::Input(task);
        }
        self.name.strip_prefix(OUTPUT).and_then(task).map_or(Owner::Caller, Owner::Output)
    }

    /// Whether a handler stored it, whatever the result says.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.name.ends_with(KEPT) && matches!(self.owner(), Owner::Output(_))
    }

    /// Which store it is in.
    #[must_use]
    pub fn store(&self) -> Store {
        match self.owner() {
            Owner::Caller | Owner::Input(_) => Store::In,
            Owner::Output(_) => Store::Out,
        }
    }
}

impl FromStr for BlobId {
    type Err = BlobIdError;

    fn from_str(text: &str) -> Result<Self, BlobIdError> {
        // No queue's name has an underscore.
        let (queue, name) = text.split_once('_').ok_or(BlobIdError)?;
        Self::named(&queue.parse().map_err(|_| BlobIdError)?, name)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.queue, self.name)
    }
}

fn nonce(random: u128) -> String {
    Ulid(random).to_string().to_ascii_lowercase()
}

/// The text is not the id of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a blob's id is a queue's name, an underscore and 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or \
     digit, and not beginning with `in.` or `out.`"
)]
pub struct BlobIdError;

#[cfg(test)]
mod tests {
    use super::{BlobId, Owner, Store};
    use crate::id::TaskId;

    fn task() -> TaskId {
        "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id")
    }

    #[test]
    fn an_id_tells_where_a_blob_is_and_whose() {
        for (blob, owner, store) in [
            (BlobId::input(&task(), 7), Owner::Input(task()), Store::In),
            (BlobId::output(&task(), 7), Owner::Output(task()), Store::Out),
            (BlobId::kept(&task(), 7), Owner::Output(task()), Store::Out),
            (BlobId::upload(&task().queue(), 7), Owner::Caller, Store::In),
            ("mail_holiday_4711.jpg".parse().expect("an upload"), Owner::Caller, Store::In),
        ] {
            assert_eq!(blob.to_string().parse().as_ref(), Ok(&blob));
            assert_eq!((blob.owner(), blob.store(), blob.queue()), (owner, store, &task().queue()));
        }
    }

    #[test]
    fn what_a_handler_stored_itself_is_told_from_an_output() {
        assert!(BlobId::kept(&task(), 7).is_kept());
        assert!(!BlobId::output(&task(), 7).is_kept());
        assert!(!"mail_a.kept".parse::<BlobId>().expect("an upload").is_kept());
    }

    #[test]
    fn callers_cannot_take_names_that_are_ours() {
        for bad in ["mail_in.x", "mail_out.", "mail_in.01h455vb4pex5vsknk084sn02", "mail_", "mail", "mail_.x", "M_x"] {
            assert!(bad.parse::<BlobId>().is_err(), "{bad}");
        }
        assert!(format!("mail_{}", "x".repeat(129)).parse::<BlobId>().is_err());
        for bad in ["mail_a/b", "mail_a b", "mail_a*", "mail_a\n", "mail_ä"] {
            assert!(bad.parse::<BlobId>().is_err(), "{bad}");
        }
    }
}
