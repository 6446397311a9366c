//! Queues, task ids and buckets.
//!
//! A task id is `<queue>_<26 characters>`: a UUID in Crockford's base32, lower case, in the style of `TypeID` with the
//! queue's name as its type. The alternative, a bare UUID, would need an index from id to queue, and that index would be
//! a second record that could disagree with the first. The last character holds the lowest five bits of the UUID and is
//! the task's bucket.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::limits::QUEUE_NAME_LENGTH_MAX;

const SUFFIX_LENGTH: usize = ulid::ULID_LEN;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of a queue, which is its kind's name: `[a-z][a-z0-9-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut characters = text.bytes();
        let first_is_letter = characters.next().is_some_and(|first| first.is_ascii_lowercase());
        let rest_is_fine = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if first_is_letter && rest_is_fine && text.len() <= QUEUE_NAME_LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::QueueName)
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a task. Text that is not exactly in its one written form is refused, so that two spellings of one id can
/// never be two tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    text: String,
    queue_length: usize,
}

impl TaskId {
    /// A new id: a `UUIDv7` of `unix_ms` and `random`. The bucket is taken from `ordering_key` where there is one.
    #[must_use]
    pub fn new(queue: &QueueName, unix_ms: u64, random: [u8; 10], ordering_key: Option<&str>) -> Self {
        let uuid = uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid();
        Self::from_bits(queue, uuid.as_u128(), ordering_key)
    }

    /// The id that an idempotency key always gives: a `UUIDv8` of SHA-256 over queue and key.
    #[must_use]
    pub fn keyed(queue: &QueueName, key: &str, ordering_key: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        hash.update(queue.as_str());
        hash.update([0]); // No queue's name holds a zero byte, so no two pairs meet.
        hash.update(key);
        Self::from_digest(queue, hash, ordering_key)
    }

    /// The id that a child always gets: a `UUIDv8` of SHA-256 over its queue, its parent, the parent's run and its key
    /// among the parent's children.
    #[must_use]
    pub fn child(queue: &QueueName, parent: &Self, run: u32, key: &ChildKey, ordering_key: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        hash.update(queue.as_str());
        hash.update([1]); // Where a keyed id has a 0: no key of a caller can give the id of a child.
        hash.update(parent.as_str());
        hash.update([0]);
        hash.update(run.to_le_bytes());
        match key {
            ChildKey::Ordinal(ordinal) => {
                hash.update([0]);
                hash.update(ordinal.to_le_bytes());
            }
            ChildKey::Name(name) => {
                hash.update([1]);
                hash.update(name);
            }
        }
        Self::from_digest(queue, hash, ordering_key)
    }

    fn from_digest(queue: &QueueName, hash: Sha256, ordering_key: Option<&str>) -> Self {
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        Self::from_bits(queue, uuid.as_u128(), ordering_key)
    }

    fn from_bits(queue: &QueueName, bits: u128, ordering_key: Option<&str>) -> Self {
        let bits = match ordering_key {
            Some(key) => (bits & !0x1f) | u128::from(Bucket::of_ordering_key(key).0),
            None => bits,
        };
        let suffix = Ulid(bits).to_string().to_ascii_lowercase();
        Self { text: format!("{queue}_{suffix}"), queue_length: queue.as_str().len() }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The queue that the task belongs to.
    #[must_use]
    pub fn queue(&self) -> QueueName {
        QueueName(self.queue_str().to_owned())
    }

    /// The same, as text.
    #[must_use]
    pub fn queue_str(&self) -> &str {
        &self.text[..self.queue_length]
    }

    /// The 26 characters after the queue's name.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.text[self.queue_length + 1..]
    }

    /// The last character: which of the 32 buckets the task is in.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.text[self.text.len() - 1..]
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (queue, suffix) = text.rsplit_once('_').ok_or(IdError::TaskId)?;
        let queue: QueueName = queue.parse().map_err(|_| IdError::TaskId)?;
        if suffix.len() != SUFFIX_LENGTH || !suffix.bytes().all(|c| ALPHABET.contains(&c)) {
            return Err(IdError::TaskId);
        }
        let bits = Ulid::from_string(suffix).map_err(|_| IdError::TaskId)?.0;
        let id = Self::from_bits(&queue, bits, None);
        // 26 characters hold 130 bits: a first character beyond `7` would be a second spelling.
        if id.text == text { Ok(id) } else { Err(IdError::TaskId) }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which of a parent's children a task is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChildKey {
    /// The how-manieth child without a name, from 1.
    Ordinal(u32),
    /// The one of this name.
    Name(String),
}

/// One of the 32 parts that a queue can be spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket(u8);

impl Bucket {
    fn of_ordering_key(key: &str) -> Self {
        Self(Sha256::digest(key)[0] & 0x1f)
    }
}

/// Why a text is not a name or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a queue's name.
    #[error("a queue's name is 1 to 63 characters, a-z, 0-9 and -, and starts with a letter")]
    QueueName,
    /// Not a task id.
    #[error("a task id is a queue's name, an underscore and 26 characters in lower-case Crockford base32")]
    TaskId,
}

#[cfg(test)]
mod tests {
    use super::{ChildKey, QueueName, TaskId};

    fn queue(name: &str) -> QueueName {
        name.parse().expect("a good name")
    }

    #[test]
    fn an_id_is_written_and_read_in_one_form() {
        let id = TaskId::new(&queue("thumbnail"), 1_700_000_000_000, [7; 10], None);
        assert_eq!(id.as_str().len(), "thumbnail_".len() + 26);
        assert_eq!(id.as_str().parse::<TaskId>().as_ref(), Ok(&id));
        assert_eq!(id.queue(), queue("thumbnail"));
        assert_eq!(id.bucket(), &id.as_str()[35..]);
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        let id = TaskId::new(&queue("a-b"), 1_700_000_000_000, [255; 10], None);
        let text = id.as_str();
        assert!(text.to_ascii_uppercase().parse::<TaskId>().is_err());
        assert!(format!("{text}0").parse::<TaskId>().is_err());
        assert!(text.replace("a-b_0", "a-b_8").parse::<TaskId>().is_err(), "more than 128 bits");
        for bad in ["", "_", "a_", "a_b", "wf.task.>", "a b_01h455vb4pex5vsknk084sn02q", "*_01h455vb4pex5vsknk084sn02q"]
        {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_always_gives_the_same_id_and_never_another_queues() {
        let one = TaskId::keyed(&queue("mail"), "order-1", None);
        assert_eq!(one, TaskId::keyed(&queue("mail"), "order-1", None));
        assert_ne!(one, TaskId::keyed(&queue("mail"), "order-2", None));
        let other = TaskId::keyed(&queue("mai"), "order-1", None);
        assert_ne!(one.as_str().split_once('_').map(|p| p.1), other.as_str().split_once('_').map(|p| p.1));
    }

    #[test]
    fn a_child_has_one_id_for_its_parent_run_and_key() {
        let parent = TaskId::keyed(&queue("thumbnail"), "x", None);
        let child = |run, key: ChildKey| TaskId::child(&queue("mail"), &parent, run, &key, None);
        assert_eq!(child(1, ChildKey::Ordinal(1)), child(1, ChildKey::Ordinal(1)));
        let others = [
            child(1, ChildKey::Ordinal(2)),
            child(2, ChildKey::Ordinal(1)),
            child(1, ChildKey::Name("1".to_owned())),
            TaskId::keyed(&queue("mail"), parent.as_str(), None),
        ];
        assert!(others.iter().all(|other| *other != child(1, ChildKey::Ordinal(1))));
    }

    #[test]
    fn tasks_of_one_ordering_key_share_a_bucket() {
        let buckets: Vec<String> = (0..20)
            .map(|n| TaskId::new(&queue("mail"), n, [n as u8; 10], Some("customer-9")).bucket().to_owned())
            .collect();
        assert!(buckets.iter().all(|bucket| *bucket == buckets[0]));
    }

    #[test]
    fn queue_names_keep_to_their_alphabet() {
        for good in ["a", "thumbnail", "word-count", "a1"] {
            assert!(good.parse::<QueueName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "a_b", "a.b", "a*", "a>", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<QueueName>().is_err(), "{bad}");
        }
    }
}
