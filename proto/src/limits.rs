//! Every bound of the contract, by name, unit last. What is set per queue has its default in [`settings`](crate::settings).

/// Longest name of a queue, in characters.
pub const QUEUE_NAME_LENGTH_MAX: usize = 63;
/// Largest payload, and largest output, that travels in a message, in bytes: what is larger goes through an object store
/// and leaves a claim check. Streams of small messages are what JetStream is quick at.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Largest payload, and largest output, of a direct call in bytes (700 KiB): nothing of a call is stored, so it must fit
/// one NATS message, whose default limit is 1 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 700 * 1024;
/// Attempts that are remembered in an envelope and a result; older ones are forgotten.
pub const ATTEMPTS_KEPT_MAX: usize = 10;
/// Longest message of a failure, in bytes.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 1024;
/// Longest code of a failure, in bytes.
pub const FAILURE_CODE_BYTES_MAX: usize = 64;
/// Longest progress message, in bytes.
pub const PROGRESS_MESSAGE_BYTES_MAX: usize = 256;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Longest ordering key, in bytes.
pub const ORDERING_KEY_BYTES_MAX: usize = 256;
/// Longest tenant, in bytes.
pub const TENANT_BYTES_MAX: usize = 64;
/// Most labels of a task.
pub const LABELS_MAX: usize = 16;
/// Longest key or value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;
/// Largest contract of a kind, as a descriptor set with all that it imports, in bytes.
pub const DESCRIPTORS_BYTES_MAX: usize = 256 * 1024;
/// Longest name of a blob within its queue, in characters.
pub const BLOB_NAME_LENGTH_MAX: usize = 128;

/// Size of the pieces that a blob is stored in, in bytes.
pub const BLOB_CHUNK_BYTES: usize = 128 * 1024;

/// Share of an object store's size, in percent, beyond which nothing new is taken in: what is under way has to end.
pub const BLOBS_FULL_PERCENT: u64 = 90;

/// Most child tasks of one run of a task.
pub const CHILDREN_MAX: usize = 100;

/// Longest name of a child task among its parent's, in bytes.
pub const CHILD_NAME_BYTES_MAX: usize = 128;

/// How long a dead letter is kept, in milliseconds (30 days).
pub const DEAD_MS_MAX: i64 = 30 * 24 * 3_600_000;

/// How long a task with a large payload may wait in its queue and for retries and still leave a dead letter that has it,
/// in milliseconds (7 days: the longest wait between two attempts, and the longest attempt).
pub const LARGE_WAIT_MS_MAX: i64 = 7 * 24 * 3_600_000;

/// Most lanes of a queue.
pub const LANES_MAX: usize = 3;
/// Deliveries after which a task runs alone in its process, so that a poison cannot drag its neighbours along.
pub const DELIVERIES_SHARED_MAX: u64 = 2;
/// Longest trace of a submit that stays one trace, in milliseconds: what is delayed beyond it starts a trace of its own.
pub const TRACE_DELAY_MS_MAX: i64 = 60_000;
/// How long a task with a schema unknown to the worker is handed back (a rolling deploy), in milliseconds.
pub const SCHEMA_UNKNOWN_MS_MAX: i64 = 600_000;

/// Cuts `text` to at most `bytes_max` bytes, at a character's border.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn text_is_cut_at_a_characters_border() {
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("größe", 4), "grö");
        assert_eq!(cut("ab", 10), "ab");
    }
}
