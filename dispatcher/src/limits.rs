//! Every bound of the dispatcher, by name, unit last. Those of the contract are in `workfleet_proto::limits`.

use std::time::Duration;

use workfleet_link::{admin, broker, telemetry};

/// What a JSON body may have beside the base64 of its payload, in bytes: the names around it.
pub const JSON_MARGIN_BYTES: usize = 64 * 1024;
/// Bodies and outputs over [`INLINE_BYTES_MAX`](workfleet_proto::limits::INLINE_BYTES_MAX) that are whole in memory at
/// once, in bytes; the next one is refused. What is made of a body takes up to one and a half times as much beside it.
pub const LARGE_BYTES_MAX: usize = 512 << 20;
/// Payloads that travel in messages, of submits that the broker has not acknowledged, in bytes; the next one is refused. In
/// memory are up to three times as many: as the task, as its message, and as what the connection has still to write.
pub const SUBMITS_BYTES_MAX: usize = 64 << 20;
/// How often a large output is in memory while it becomes JSON: itself, its base64, and that in a document.
pub const JSON_COPIES: usize = 4;
/// How often a dispatcher sweeps the object stores; the first time somewhere within it.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Youngest that anything is which is swept by itself, however short the retention: an upload may be under way as long.
pub const SWEEP_AGE_MIN: Duration = Duration::from_secs(24 * 3_600);
/// Records of a store that a sweep reads at once.
pub const SWEEP_RECORDS_MAX: usize = 256;
/// Questions of a sweep of one store that may stay without an answer before it is given up.
pub const SWEEP_UNANSWERED_MAX: u64 = 3;
/// Pause between two reads of a sweep that nobody waits for.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// Blobs that are read at once; the next one is refused. Up to 1 MiB of each is in memory, however slow its reader is.
pub const BLOBS_READ_MAX: usize = 256;
/// Longest time in which the reader of a blob takes no piece of it; then it is cut off, and its place is free.
pub const BLOB_READ_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest upload in percent of its store: one is not to fill it for everybody.
pub const UPLOAD_PERCENT_MAX: u64 = 50;
/// How often the object stores are measured for the metrics.
pub const MEASURE_BLOBS_INTERVAL: Duration = Duration::from_secs(30);
/// How often it is measured how much of the queues' bounds is used: deadlines are counted one by one.
pub const MEASURE_BOUNDS_INTERVAL: Duration = Duration::from_secs(30);
/// When a caller that met a bound of large bodies or of reads should come again.
pub const LARGE_RETRY_AFTER_MS: u64 = 1_000;
/// How deep messages may be nested in a payload, entries of maps included: protobuf's own readers go no deeper.
pub const PAYLOAD_DEPTH_MAX: usize = 100;
/// Longest time that `Prefer: wait` may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Requests that wait for an end at once; the next one is answered without waiting.
pub const WAITS_MAX: usize = 10_000;
/// Readers of live events at once; the next one is refused.
pub const WATCHES_MAX: usize = 10_000;
/// Direct calls at once; the next one is refused.
pub const CALLS_MAX: usize = 10_000;
/// Submits from within the fleet at once; the next one is refused.
pub const FLEET_SUBMITS_MAX: usize = 512;
/// Largest of them in bytes, also where the broker's messages may be larger: so many of them are in memory at once.
pub const FLEET_SUBMIT_BYTES_MAX: usize = 1 << 20;
/// Time that a direct call has when it names none.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Longest time that a direct call may have.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Pause before a busy queue group is asked again: it doubles from the first to the second.
pub const CALL_BUSY_PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// A wait and a watch read the result again this often, since a republished message is not a promise.
pub const REREAD_INTERVAL: Duration = Duration::from_secs(5);
/// A silent event stream says that it is alive this often.
pub const SSE_COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time from a connection's first byte to the end of a request's headers.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that a request's body may take to arrive; a longer one has a second more for each [`BODY_RATE_MIN`].
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Slowest that a long body may come, in bytes for each second.
pub const BODY_RATE_MIN: u64 = 64 * 1024;
/// Longest silence in the midst of a body.
pub const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// HTTP connections at once; the next one waits in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 20_000;
/// How long requests in flight may take once the dispatcher is asked to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Longest time from SIGTERM to the end of a dispatcher: requests finish, then the connection to the broker closes, then
/// the admin address, and the last spans leave. In Kubernetes, `terminationGracePeriodSeconds` is not shorter.
pub const SHUTDOWN_TIME_MAX: Duration = SHUTDOWN_GRACE
    .saturating_add(broker::CLOSE_TIME_MAX)
    .saturating_add(admin::STOP_TIME_MAX)
    .saturating_add(telemetry::STOP_TIME_MAX);
/// How long a kind is used before its record is read again.
pub const KIND_FRESH: Duration = Duration::from_secs(2);
/// How long nobody is to submit to a lane before it is looked at for the last time and goes: settings may be used for
/// [`KIND_FRESH`], and a publish that follows them may take as long as the broker.
pub const LANE_REMOVAL_WAIT: Duration = KIND_FRESH.saturating_add(BROKER_TIMEOUT);
/// How long it is remembered that a queue does not exist.
pub const UNKNOWN_FRESH: Duration = Duration::from_millis(500);
/// Names of queues that do not exist which are remembered at once.
pub const UNKNOWN_MAX: usize = 1_024;
/// Kinds that are looked for at once.
pub const LOOKUPS_MAX: usize = 16;
/// How long the broker may take to say what a queue is. Shorter than [`LOOKUP_TIMEOUT`], so that whoever asks lives to
/// remember that there was no answer.
pub const LOOKUP_ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a request may wait to learn what its queue is, waiting behind others included. Then it goes by what was last
/// known.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is remembered that the broker did not say what a queue is.
pub const SILENT_FRESH: Duration = Duration::from_millis(500);
/// Schemas that are kept ready per dispatcher; past it all are dropped and read again.
pub const SCHEMAS_MAX: usize = 1_024;
/// How long counts of a queue are used before they are asked for again.
pub const COUNTS_FRESH: Duration = Duration::from_millis(500);
/// Longest delay of a task.
pub const DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Furthest deadline of a task.
pub const DEADLINE_MAX: Duration = DELAY_MAX;
/// How far in the past a deadline may lie and still be taken, to expire at once: clocks differ, and a submit takes time.
pub const DEADLINE_LATE_MAX: Duration = Duration::from_secs(5);
/// How often a dispatcher looks for queues of which nobody here takes what fires.
pub const FIRED_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Tasks that are due, or deadlines, that a dispatcher takes at once from one queue. Its share of what a herd leaves with it
/// for the time of one redelivery, should it die.
pub const FIRED_BATCH_MAX: usize = 64;
/// Longest that one request for what has fired waits at the broker.
pub const FIRED_PULL_TIME: Duration = Duration::from_secs(10);
/// How much later than that a request without any answer is given up.
pub const FIRED_PULL_MARGIN: Duration = Duration::from_secs(2);
/// When the broker is asked again that refused, or was not there.
pub const FIRED_AGAIN: Duration = Duration::from_secs(1);
/// Tasks that are due that may be with all dispatchers together and not acknowledged, in each queue.
pub const DUE_PENDING_MAX: u32 = 4_096;
/// When a task that is due is given out again that a dispatcher took and did not acknowledge: as long as one of those waits
/// that were with a dispatcher which died.
pub const DUE_ACK_WAIT: Duration = Duration::from_secs(10);
/// How long a dispatcher works on one task that is due, in front of a full queue for instance, before it gives it back.
/// Shorter than [`DUE_ACK_WAIT`].
pub const DUE_TIME_MAX: Duration = Duration::from_secs(6);
/// How often a queue that was full is asked, by one for all that wait here, whether it has room again.
pub const DUE_FULL_PAUSE: Duration = Duration::from_millis(200);
/// When a task that is due comes again that was given back.
pub const DUE_AGAIN: Duration = Duration::from_secs(1);
/// When one comes again that the broker refuses to store, for another reason than that its queue is full.
pub const DUE_REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// Tasks that a dispatcher expires at once, of all queues.
pub const EXPIRES_MAX: usize = 128;
/// Deadlines that may be with all dispatchers together and not acknowledged, in each queue.
pub const EXPIRED_PENDING_MAX: u32 = 4_096;
/// When a deadline is given out again that a dispatcher took and did not acknowledge.
pub const EXPIRED_ACK_WAIT: Duration = Duration::from_secs(30);
/// How long a dispatcher works on one deadline before it gives it back. Shorter than [`EXPIRED_ACK_WAIT`].
pub const EXPIRE_TIME_MAX: Duration = Duration::from_secs(20);
/// When one that it gave back comes again, as the broker did not answer. Until then it counts towards
/// [`EXPIRED_PENDING_MAX`], so that whatever is put off for longer gets a timer anew instead.
pub const EXPIRE_AGAIN: Duration = Duration::from_secs(1);
/// When a deadline is looked at once more whose task is not there: a submit that stored its timer may still be under way.
pub const EXPIRE_UNKNOWN_AGAIN: Duration = Duration::from_secs(15);
/// When a deadline is looked at again whose task a redrive has marked and not published.
pub const EXPIRE_MARKED_AGAIN: Duration = Duration::from_secs(60);
/// Workers of a queue that are waited for to confirm a cancel: as many as the server names at once.
pub const WORKERS_TOLD_MAX: usize = 100_000;
/// Steps of one halt. A task that ends, or is redriven, under its hands begins it anew.
pub const HALT_STEPS_MAX: usize = 64;
/// Copies of one task that a halt takes out of the queue at once: it is one, or two where the server stored one twice.
pub const HALT_COPIES_MAX: u32 = 8;
/// How often a halt may not learn what the broker has stored.
pub const HALT_UNCLEAR_MAX: usize = 5;
/// Pause before it looks again.
pub const HALT_UNCLEAR_PAUSE: Duration = Duration::from_millis(50);
/// How long the deletion of a halted task's large payload may hold up an answer.
pub const HALT_DISCARD_TIME_MAX: Duration = Duration::from_secs(1);
/// Cancels of one task at once; the next one is refused.
pub const CANCELS_MAX: usize = 256;
/// Longest reason of a cancel, a redrive or a drop, in characters.
pub const REASON_CHARS_MAX: usize = 512;
/// How long workers may take to confirm a cancel, from the time that they are asked.
pub const CANCEL_ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Records of workers that have not confirmed which are read at once.
pub const CANCEL_READS_MAX: usize = 32;
/// Most tasks of one call that cancels many.
pub const CANCEL_MANY_MAX: usize = 1_000;
/// Tasks of such a call that are cancelled at once.
pub const CANCEL_MANY_CONCURRENT_MAX: usize = 32;
/// Such calls at once; the next one is refused.
pub const BULK_CANCELS_MAX: usize = 8;
/// How long such a call goes on with the next task; what is left then is told as problems.
pub const CANCEL_MANY_TIME_MAX: Duration = Duration::from_secs(15);
/// Problems that such a call tells of.
pub const CANCEL_PROBLEMS_MAX: usize = 100;
/// Largest body of such a call in bytes: 1,000 ids, a filter and a reason.
pub const CANCEL_MANY_BYTES_MAX: usize = 128 * 1024;
/// How long a redrive may meet others in its way before it gives up, with the dead letter still there.
pub const REDRIVE_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause before one that met somebody looks again.
pub const REDRIVE_PAUSE: Duration = Duration::from_millis(100);
/// Letters of one call that are redriven, or dropped, beside each other.
pub const DEAD_AT_ONCE: usize = 16;
/// How long one call redrives or drops; the letters that it has not begun with by then are told of as problems.
pub const DEAD_MANY_TIME_MAX: Duration = Duration::from_secs(20);
/// Most letters of one call.
pub const DEAD_MANY_MAX: usize = LIST_TASKS_MAX;
/// Most problems in its answer.
pub const DEAD_PROBLEMS_MAX: usize = 100;
/// How often a dispatcher looks for queues whose dead letters it tells of.
pub const ALERT_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Letters that a dispatcher takes at once to tell of them.
pub const ALERT_BATCH_MAX: usize = 16;
/// Longest that one request for letters waits at the broker.
pub const ALERT_PULL_TIME: Duration = Duration::from_secs(10);
/// When a letter that could not be told of is tried again.
pub const ALERT_AGAIN: Duration = Duration::from_secs(5);
/// When a letter is given out again that a dispatcher took and did not acknowledge.
pub const ALERT_ACK_WAIT: Duration = Duration::from_secs(60);
/// Letters that may be with all dispatchers together and not acknowledged, in each queue.
pub const ALERTS_PENDING_MAX: u32 = 256;
/// Tasks of a page that names no limit.
pub const LIST_TASKS_DEFAULT: usize = 50;
/// Most tasks of a page.
pub const LIST_TASKS_MAX: usize = 1_000;
/// Reads that one page may cost; it is short, or empty, where they do not fill it. Each may bring two questions more,
/// for what else is known of what was read. Where large records make more questions of these, they count as reads.
pub const LIST_READS_MAX: usize = 8;
/// Least messages of one read.
pub const LIST_READ_MESSAGES_MIN: usize = 16;
/// Most messages of one read.
pub const LIST_READ_MESSAGES_MAX: usize = 512;
/// Most bytes of one read; the message with which they are reached is the last.
pub const LIST_READ_BYTES_MAX: usize = 1 << 20;
/// Bytes of its tasks' records with which a page is full.
pub const LIST_PAGE_BYTES_MAX: usize = 1 << 20;
/// Pages that are put together at once; the next one is refused.
pub const LISTS_MAX: usize = 16;
/// Queues that are listed at once, in answers and in lists of what is known.
pub const QUEUES_LISTED_MAX: usize = 1_000;
/// Most workers that are listed of one queue.
pub const WORKERS_LISTED_MAX: usize = 1_000;
/// Tasks of a ledger that are looked for together.
pub const AUDIT_CHUNK_IDS: usize = 512;
/// How many of these looks at once.
pub const AUDIT_CHUNKS_MAX: usize = 8;
/// Tasks of one look that are searched one by one at once.
pub const AUDIT_CONFIRMS_MAX: usize = 32;
/// How often a look is begun again to which the broker gives no answer.
pub const AUDIT_TRIES_MAX: u32 = 3;
/// Pause between these.
pub const AUDIT_AGAIN: Duration = Duration::from_secs(2);
/// Most tasks of one audit: 16 bytes of each are kept in mind.
pub const AUDIT_IDS_MAX: usize = 10_000_000;
/// Most tasks that are named as no longer kept: an old ledger has nothing else.
pub const AUDIT_IDS_NAMED_MAX: usize = 1_000;
/// Most lines of a ledger that are named as unreadable.
pub const AUDIT_LINES_NAMED_MAX: usize = 100;
/// How long the broker may take to answer a question about a stream.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stream may take to say whether there is room. Shorter than the whole check, so that whoever asks lives to
/// remember that there was no answer.
pub const ROOM_ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a submit may wait to learn whether there is room, waiting behind others included.
pub const ROOM_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// What a task takes in its stream beside its envelope: subject, headers and claim check, generously.
pub const TASK_HEADERS_BYTES: usize = 1_024;
/// When a caller that met a full queue should come again.
pub const QUEUE_FULL_RETRY_AFTER_MS: u64 = 1_000;
/// When a caller that met a lost broker should come again.
pub const BROKER_RETRY_AFTER_MS: u64 = 1_000;
/// Publishes that met a write in flight are tried again this often.
pub const IN_FLIGHT_TRIES_MAX: u32 = 20;
/// Pause between them.
pub const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(25);
/// Results of a queue are refused to make room before this age: while the oldest is younger, submits are.
pub const RETENTION_MIN: Duration = Duration::from_secs(600);
/// Bytes of a refused body that are taken in so that its sender can read the answer.
pub const DRAIN_BYTES_MAX: usize = 16 << 20;
/// Time for that.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for callers who are not known: they are to cost nothing.
pub const STRANGER_DRAIN_BYTES_MAX: usize = 256 << 10;
/// Time for that.
pub const STRANGER_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pulls that may wait at a lane's consumer at once: each worker process has one there while it has free slots. Left
/// alone the server allows 512, and more processes than that would be refused in turn.
pub const PULLS_WAITING_MAX: u32 = 16_384;
/// How often the queues are measured for the metrics.
pub const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
