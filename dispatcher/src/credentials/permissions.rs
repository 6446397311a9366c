//! What a role may publish and subscribe to: allow lists alone, everything else is refused.
//!
//! The server checks subjects and nothing else, so each line is a subject that some station of that role really uses. The
//! file is the place to look when the broker's log says `Permissions Violation`.
//!
//! - A worker's lists name its own queue, with all its lanes. A list per lane would keep nobody from anything, since every
//!   consumer of `TASKS_<queue>` is of this queue, and taking a lane away would lock up the last tasks in it.
//! - The dispatcher reads whatever the account holds and writes to every queue: so a queue that is gone from the file
//!   and not yet retired breaks no list of queues. What it creates or deletes is named queue by queue.
//! - A read from the leader, `STREAM.MSG.GET`, has its subject in its body, where no permission reaches. So a worker that
//!   may read its queue's settings and contract may read every queue's. `DIRECT.GET` with the key in its subject would
//!   close that, and would let a replica that is behind give a worker yesterday's lanes for as long as it runs; in those
//!   two buckets is nothing but limits and message types.

use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::{DelayPart, Names};

use super::Role;
use crate::queues_file::QueuesFile;

/// Allow lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects that may be published to.
    pub publish: Vec<String>,
    /// Subjects that may be subscribed to. `subject group` allows it in that queue group alone.
    pub subscribe: Vec<String>,
    /// Whether requests may be answered, once each, wherever the answer is wanted.
    pub answers: Answers,
}

/// Whether a role answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// It does.
    Allowed,
    /// Nobody asks it anything.
    Refused,
}

impl Permissions {
    /// What a role may do in the account of the fleet. `None`: it is not in that account.
    #[must_use]
    pub fn of(names: &Names, file: &QueuesFile, role: &Role) -> Option<Self> {
        let inbox = format!("{}.>", role.inbox_prefix());
        match role {
            Role::Provision => Some(provision(names, inbox)),
            Role::Dispatcher => Some(dispatcher(names, file, inbox)),
            Role::Worker(queue) => {
                let entry = file.queues.iter().find(|entry| entry.name == *queue)?;
                Some(worker(names, queue, &entry.settings.children, inbox))
            }
            Role::Backup => Some(backup(inbox)),
            Role::Audit => Some(audit(names, file, inbox)),
            Role::Sys => None,
        }
    }
}

/// Makes, changes and removes everything that JetStream holds, and writes settings and contracts. It submits no task and
/// hears of none.
fn provision(names: &Names, inbox: String) -> Permissions {
    let mut publish = api(&[
        // Asked by `doctor` alone.
        "INFO",
        "STREAM.INFO.*",
        "STREAM.CREATE.*",
        "STREAM.UPDATE.*",
        "STREAM.DELETE.*",
        "STREAM.PURGE.*",
        "STREAM.MSG.GET.*",
        "STREAM.MSG.DELETE.*",
        "DIRECT.GET.*",
        "CONSUMER.NAMES.*",
        "CONSUMER.INFO.*.*",
        "CONSUMER.DURABLE.CREATE.*.*",
        "CONSUMER.DELETE.*.*",
    ]);
    // What it purges and retires is noted.
    publish.push(names.operation_everywhere());
    publish.push(key(&names.queues_bucket(), "*"));
    // Letters from the one stream that all queues once shared.
    publish.push(names.dead_everywhere());
    publish.push(key(&names.kinds_bucket(), "kind.*"));
    publish.push(key(&names.kinds_bucket(), "schema.*.*"));
    Permissions { publish, subscribe: vec![inbox], answers: Answers::Refused }
}

/// Takes tasks for every queue, reads what became of them, and ends those that are cancelled or have expired. Of streams it
/// makes those of events alone, which are in memory; it deletes idempotency keys that it wrote in vain, purges what is left
/// of tasks that it has ended, and deletes what is nobody's in the object stores.
fn dispatcher(names: &Names, file: &QueuesFile, inbox: String) -> Permissions {
    let mut publish = vec![
        names.task_everywhere(),
        names.delay_at_everywhere(),
        names.delay_deadline_everywhere(),
        names.key_everywhere(),
        names.call_everywhere(),
        // Its workers are told of a task that was cancelled or has expired.
        names.cancel_everywhere(),
    ];
    // Ends of tasks that are cancelled or expire, marks of redrives, and the end of one that was dropped half way.
    publish.push(names.result_everywhere());
    publish.extend([names.operation_everywhere(), names.accepted_everywhere()]);
    publish.extend(api(&["STREAM.INFO.*", "STREAM.MSG.GET.*", "DIRECT.GET.*", "CONSUMER.INFO.*.*"]));
    for queue in file.queues.iter().map(|entry| &entry.name) {
        let events = names.events_stream(queue);
        publish.extend(api(&[&format!("STREAM.CREATE.{events}"), &format!("STREAM.UPDATE.{events}")]));
        publish.extend(api(&[&format!("STREAM.MSG.DELETE.{}", names.results_stream(queue))]));
        publish.extend(api(&[&format!("STREAM.MSG.DELETE.{}", names.dead_stream(queue))]));
        publish.extend(fired_taken(names, queue));
        publish.extend(halted_tasks_removed(names, queue));
        publish.extend(letters_taken(names, queue));
        publish.extend(object_store_writes(names, Store::In, queue));
        publish.extend(object_store_deletes(names, Store::In, queue));
        publish.extend(object_store_deletes(names, Store::Out, queue));
    }
    let subscribe = vec![
        in_group(&names.submit_everywhere(), names.submit_group()),
        names.done_everywhere(),
        names.event_everywhere(),
        inbox,
    ];
    Permissions { publish, subscribe, answers: Answers::Allowed }
}

/// Reads whole streams and brings them back, which no other role may. It cannot change or delete one that is there.
fn backup(inbox: String) -> Permissions {
    let mut publish = api(&[
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "STREAM.INFO.*",
        "STREAM.SNAPSHOT.*",
        "STREAM.RESTORE.*",
        "CONSUMER.NAMES.*",
        "CONSUMER.LIST.*",
        "CONSUMER.INFO.*.*",
    ]);
    // Pieces of a snapshot are acknowledged on the way out and sent on the way back.
    publish.extend(["$JS.SNAPSHOT.ACK.>".to_owned(), "$JS.SNAPSHOT.RESTORE.>".to_owned()]);
    Permissions { publish, subscribe: vec![inbox], answers: Answers::Refused }
}

/// Looks where tasks are, and how the broker is set up. Of what streams hold it reads those of tasks: with them payloads and
/// outputs that travel in messages, and no blob.
fn audit(names: &Names, file: &QueuesFile, inbox: String) -> Permissions {
    let mut publish = api(&["INFO", "STREAM.INFO.*", "CONSUMER.INFO.*.*"]);
    let buckets = [names.queues_bucket(), names.kinds_bucket()];
    publish.extend(buckets.iter().flat_map(|bucket| api(&[&format!("STREAM.MSG.GET.{}", bucket_stream(bucket))])));
    for queue in file.queues.iter().map(|entry| &entry.name) {
        let streams = [
            names.tasks_stream(queue),
            names.delay_stream(queue),
            names.results_stream(queue),
            names.events_stream(queue),
            names.dead_stream(queue),
            names.accepted_stream(queue),
        ];
        let reads = streams
            .iter()
            .flat_map(|stream| api(&[&format!("STREAM.MSG.GET.{stream}"), &format!("DIRECT.GET.{stream}")]));
        publish.extend(reads);
    }
    Permissions { publish, subscribe: vec![inbox], answers: Answers::Refused }
}

/// Takes the tasks of one queue and records how they end.
fn worker(names: &Names, queue: &QueueName, children: &[String], inbox: String) -> Permissions {
    let tasks = names.tasks_stream(queue);
    // Outcomes, and what is said on the way to them.
    let mut publish = vec![
        names.result_all(queue),
        names.dead_all(queue),
        names.delay_all(DelayPart::At, queue),
        names.delay_all(DelayPart::Due, queue),
        names.event_all(queue),
    ];
    publish.extend(api(&[&format!("CONSUMER.MSG.NEXT.{tasks}.*")]));
    // The second form is the one with domain and account, which servers may be set to.
    publish.push(format!("$JS.ACK.{tasks}.*.>"));
    publish.push(format!("$JS.ACK.*.*.{tasks}.*.>"));
    // A look before a start, the winner of a compare-and-set, settings and contract.
    let (inputs, outputs) = (object_stream(names, Store::In, queue), object_stream(names, Store::Out, queue));
    let streams = [
        tasks,
        names.delay_stream(queue),
        names.results_stream(queue),
        inputs.clone(),
        outputs.clone(),
        bucket_stream(&names.queues_bucket()),
        bucket_stream(&names.kinds_bucket()),
    ];
    publish.extend(streams.iter().flat_map(|stream| api(&[&format!("STREAM.MSG.GET.{stream}")])));
    // Blobs: pieces of both stores, writes of outputs, and both are deleted when nobody needs them any more.
    publish.extend(api(&[&format!("DIRECT.GET.{inputs}"), &format!("DIRECT.GET.{outputs}")]));
    publish.extend(object_store_writes(names, Store::Out, queue));
    publish.extend(object_store_deletes(names, Store::In, queue));
    publish.extend(object_store_deletes(names, Store::Out, queue));
    // Its own contract, and that its processes live.
    publish.push(key(&names.kinds_bucket(), &names.kind_key(queue)));
    publish.push(key(&names.kinds_bucket(), &names.schema_key(queue, "*")));
    publish.push(key(&names.workers_bucket(), &names.worker_key(queue, "*")));
    let children = children.iter().filter_map(|child| child.parse::<QueueName>().ok());
    publish.extend(children.map(|child| names.submit(&child)));
    // Each of them hears of a cancel, in no group.
    let subscribe = vec![in_group(&names.call(queue), queue.as_str()), names.cancel(queue), inbox];
    Permissions { publish, subscribe, answers: Answers::Allowed }
}

/// What is left of a task that was cancelled or has expired. A purge names its subject in its body and a deletion its
/// sequence, where no permission reaches: whoever may remove one task of a queue may remove them all.
fn halted_tasks_removed(names: &Names, queue: &QueueName) -> Vec<String> {
    let (tasks, delay) = (names.tasks_stream(queue), names.delay_stream(queue));
    api(&[&format!("STREAM.MSG.DELETE.{tasks}"), &format!("STREAM.PURGE.{delay}")])
}

/// Tasks that are due and deadlines that have passed are taken and acknowledged; the timer of a refused task is deleted.
fn fired_taken(names: &Names, queue: &QueueName) -> Vec<String> {
    let delay = names.delay_stream(queue);
    let mut taken = api(&[&format!("STREAM.MSG.DELETE.{delay}")]);
    for consumer in [names.due_consumer(), names.expired_consumer()] {
        taken.extend(consumer_taken(&delay, consumer));
    }
    taken
}

/// Dead letters are taken and acknowledged, where somebody is told of them.
fn letters_taken(names: &Names, queue: &QueueName) -> Vec<String> {
    let (dead, consumer) = (names.dead_stream(queue), names.alert_consumer());
    consumer_taken(&dead, consumer)
}

fn consumer_taken(stream: &str, consumer: &str) -> Vec<String> {
    let mut taken = api(&[&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}")]);
    // The second form is the one with domain and account, which servers may be set to.
    taken.push(format!("$JS.ACK.{stream}.{consumer}.>"));
    taken.push(format!("$JS.ACK.*.*.{stream}.{consumer}.>"));
    taken
}

fn api(calls: &[&str]) -> Vec<String> {
    calls.iter().map(|call| format!("$JS.API.{call}")).collect()
}

fn key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

fn object_stream(names: &Names, store: Store, queue: &QueueName) -> String {
    format!("OBJ_{}", names.object_store(store, queue))
}

/// Pieces and records.
fn object_store_writes(names: &Names, store: Store, queue: &QueueName) -> Vec<String> {
    let store = names.object_store(store, queue);
    vec![format!("$O.{store}.C.*"), format!("$O.{store}.M.*")]
}

/// A record by its place, its pieces by their subject.
fn object_store_deletes(names: &Names, store: Store, queue: &QueueName) -> Vec<String> {
    let stream = object_stream(names, store, queue);
    api(&[&format!("STREAM.MSG.DELETE.{stream}"), &format!("STREAM.PURGE.{stream}")])
}

fn in_group(subject: &str, group: &str) -> String {
    format!("{subject} {group}")
}
